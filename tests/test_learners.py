"""Learning in pieces: what is cut, and that pieces add up to the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from dataaudit.mirror import learners
from dataaudit.mirror.finite import FiniteSettings, Part, finite_mirror
from dataaudit.mirror.learners import Learners, is_cut, needs_whole_steps
from dataaudit.tasks import Classification

SETTINGS = FiniteSettings(steps=8, schedule="one cycle", average=0.5, dropout=True, seed=5)


class OfWords(nn.Module):
    """Takes any number of words a row, and drops some of them, and of what is made of them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(6, 16), nn.LayerNorm(16), nn.ReLU(inplace=True)
        )
        self.unused = nn.Linear(3, 3)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 4))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return logits, `[rows, 4]`."""
        return torch.as_tensor(self.head(self.words(rows).mean(dim=1)))


def parts(count: int, widths: tuple[tuple[int, int], ...]) -> Iterator[list[Part]]:
    """Yield the rows of each step, in parts of some rows and words."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        yield [
            (torch.randn(rows, words, 6, generator=generator), torch.arange(rows) % 4)
            for rows, words in widths
        ]


def learned(
    elsewhere: Learners | None,
    settings: FiniteSettings = SETTINGS,
    widths: tuple[tuple[int, int], ...] = ((37, 3), (5, 2)),
) -> list[torch.Tensor]:
    module, task = OfWords().eval(), Classification(4)
    steps = parts(settings.steps, widths)
    found = finite_mirror(module, task, steps, settings, shown=False, elsewhere=elsewhere)
    return list(found.tensors.values())


@pytest.mark.parametrize("dropout", [True, False])
def test_pieces_add_up_to_the_whole(dropout: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and parts are no multiple of the pieces, and what is dropped of a row is the same."""
    settings = replace(SETTINGS, dropout=dropout)
    whole = learned(None, settings)
    monkeypatch.setattr(learners, "is_cut", lambda *_: True)
    cut = learned(Learners(), settings)
    assert not all(map(torch.equal, cut, whole)), "the sums were rounded in the same way"
    for mine, theirs in zip(cut, whole, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)
    assert all(map(torch.equal, learned(Learners(), settings), cut))


def test_a_step_is_cut_by_what_it_computes_and_by_nothing_else() -> None:
    # Convolutions on 64 pictures; a language model of which adapters move; all of it moves.
    assert is_cut(4e9, 114_000, "cpu")
    assert is_cut(3 * 64 * 1e9, 1_000_000, "cpu")
    assert is_cut(6 * 64 * 256 * 1e8, 100_000_000, "cpu")
    # A perceptron; and so many numbers that adding gradients takes as long as computing them.
    assert not is_cut(6 * 64 * 110_000, 110_000, "cpu")
    assert not is_cut(8e10, 11_000_000, "cpu")
    assert not is_cut(4e9, 114_000, "cuda")


def test_small_steps_are_learned_whole_and_large_ones_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert all(map(torch.equal, learned(Learners()), learned(None)))
    monkeypatch.setattr(learners, "CUT_FROM", {"cpu": 1e6, "cuda": 1e13})
    assert all(map(torch.equal, learned(Learners()), learned(None)))
    many = ((64, 300),)
    assert not all(map(torch.equal, learned(Learners(), widths=many), learned(None, widths=many)))


def test_the_module_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout is seen to from outside; what asks the module on the way must not notice."""
    monkeypatch.setattr(learners, "is_cut", lambda *_: True)
    asked = []

    def until(module: nn.Module) -> bool:
        asked.append(module(torch.ones(3, 2, 6)).shape)
        assert not any("forward" in vars(part) for part in module.modules())
        return False

    finite_mirror(
        OfWords().eval(),
        Classification(4),
        parts(SETTINGS.steps, ((9, 2),)),
        SETTINGS,
        until=until,
        shown=False,
        elsewhere=Learners(),
    )
    assert asked == [(3, 4)] * SETTINGS.steps


def test_what_batch_norm_learns_is_learned_in_whole_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learners, "is_cut", lambda *_: True)
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Linear(5, 4)
    ).eval()
    for batch_norm, whole in (("updated", True), ("frozen", False)):
        settings = replace(SETTINGS, batch_norm=batch_norm)
        assert needs_whole_steps(module, settings) is whole
        found = [
            finite_mirror(
                module,
                Classification(4),
                parts(SETTINGS.steps, ((37, 2),)),
                settings,
                shown=False,
                elsewhere=elsewhere,
            ).tensors.values()
            for elsewhere in (None, Learners())
        ]
        assert all(map(torch.equal, *found)) is whole
    assert not needs_whole_steps(OfWords(), SETTINGS)

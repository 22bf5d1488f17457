"""Verbatim memorization: known continuations, and a language model that learned its passages."""

import numpy as np
import pytest
import torch
from torch import nn

from dataaudit.errors import ModelError
from dataaudit.studies.memorization.verbatim import (
    Windows,
    continuations_of,
    edit_distance,
    verbatim,
)

SMALL = Windows(prefix=4, continuation=4, stride=4, batch_size=2)


def test_kinds_and_counts_by_hand() -> None:
    said = {
        (0, 1, 2, 3): [4, 5, 6, 7],  # word for word
        (4, 5, 6, 7): [8, 9, 0, 0],  # two right, then wrong
        (20, 21, 22, 23): [24],  # ends early
    }
    asked: list[list[int]] = []

    def generate(prefixes: list[list[int]], tokens: int) -> list[list[int]]:
        assert tokens == 4
        asked.extend(prefixes)
        return [said[tuple(prefix)] for prefix in prefixes]

    passages = [("a", list(range(12))), ("short", [1, 2, 3]), (7, list(range(20, 28)))]
    found = verbatim(passages, generate, SMALL)
    assert found["row_id"].tolist() == ["a", "a", 7]
    assert found["start"].tolist() == [0, 4, 0]
    assert found["matched_tokens"].tolist() == [4, 2, 1]
    assert found["similarity"].tolist() == [1.0, 0.5, 0.25]
    assert found["kind"].tolist() == ["exact", "none", "none"]
    assert asked == [[0, 1, 2, 3], [4, 5, 6, 7], [20, 21, 22, 23]]


def test_a_word_more_is_near() -> None:
    # One token slipped in: not word for word, but only two edits of ten away.
    passage = list(range(14))
    found = verbatim(
        [("a", passage)],
        lambda prefixes, tokens: [[99, *passage[4:13]] for _ in prefixes],
        Windows(prefix=4, continuation=10, stride=10),
    )
    assert found["kind"].tolist() == ["near"]
    assert found["similarity"].tolist() == [0.8]
    assert found["matched_tokens"].tolist() == [0]


def test_edit_distance_against_the_textbook_recursion() -> None:
    def plain(one: list[int], other: list[int]) -> int:
        if not one or not other:
            return len(one) + len(other)
        return min(
            plain(one[1:], other) + 1,
            plain(one, other[1:]) + 1,
            plain(one[1:], other[1:]) + (one[0] != other[0]),
        )

    generator = np.random.default_rng(0)
    for _ in range(40):
        one, other = (
            generator.integers(3, size=generator.integers(0, 6)).tolist() for _ in range(2)
        )
        assert edit_distance(one, other) == plain(one, other)


def test_another_number_of_continuations_is_refused() -> None:
    with pytest.raises(ModelError, match="1 continuations for 2 prefixes; expected one for each"):
        verbatim([("a", list(range(12)))], lambda prefixes, tokens: [[1]], SMALL)


def test_nothing_to_ask_is_an_empty_table() -> None:
    found = verbatim([("a", [1, 2])], lambda prefixes, tokens: [], SMALL)
    assert len(found) == 0
    assert "kind" in found.columns


class TokenTable(nn.Module):
    """A language model with the interface of transformers: the next token from the last two."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(tokens, tokens, tokens))
        self.device = torch.device("cpu")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.logits[inputs[:, :-1], inputs[:, 1:]]

    def generate(self, inputs: torch.Tensor, max_new_tokens: int, **options: object):
        assert options["do_sample"] is False
        for _ in range(max_new_tokens):
            step = self.logits[inputs[:, -2], inputs[:, -1]].argmax(dim=-1)
            inputs = torch.cat([inputs, step[:, None]], dim=1)
        return inputs


def test_a_model_gives_away_what_it_was_trained_on_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    learned, unseen = (
        [(f"{name}-{number}", generator.integers(80, size=12).tolist()) for number in range(5)]
        for name in ("learned", "unseen")
    )
    model = TokenTable(80)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    batch = torch.tensor([tokens for _, tokens in learned])
    for _ in range(20):
        logits = model(batch[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 2:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    windows = Windows(prefix=6, continuation=6, stride=6, batch_size=3)
    found = verbatim([*learned, *unseen], continuations_of(model), windows)
    kinds = dict(zip(found["row_id"], found["kind"], strict=True))
    assert {kinds[name] for name, _ in learned} == {"exact"}
    assert {kinds[name] for name, _ in unseen} == {"none"}

"""Learning again without the row: no sample is judged by what has learned it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dataaudit
from dataaudit import progress
from dataaudit.config import config_from_python
from dataaudit.datasets.samples import Role
from dataaudit.inputs import Loaded
from dataaudit.mirror import left_out
from dataaudit.mirror.finite import FiniteSettings
from dataaudit.stages.left_out import learned_left_out
from dataaudit.stages.loading import load_objects
from dataaudit.stages.planning import cost_lines

LETTERS = "abcdefgh"


def counted(frame: pd.DataFrame) -> torch.Tensor:
    counts = [[text.count(letter) for letter in LETTERS] for text in frame["answer"]]
    return torch.tensor(counts, dtype=torch.float32)


def pairs(rows: int, seed: int) -> pd.DataFrame:
    """Return pairs of which the answer with clearly later letters is better."""
    generator = np.random.default_rng(seed)
    lines = []
    while len(lines) < rows:
        one, other = ("".join(generator.choice(list(LETTERS), 7)) for _ in range(2))
        worth = [sum(map(LETTERS.index, text)) for text in (one, other)]
        if abs(worth[0] - worth[1]) >= 4:
            lines.append((one, other) if worth[0] > worth[1] else (other, one))
    return pd.DataFrame(lines, columns=["chosen", "rejected"])


def loaded(train: pd.DataFrame, trusted: int = 40, **mirror: Any) -> Loaded:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    splits: dict[Role, Any] = {"train": train, "held_out": pairs(trusted, 1), "suspects": None}
    return load_objects(network, splits, counted, settings(**mirror), trusting=True)


def settings(**mirror: Any) -> Any:
    return config_from_python("label", None, {"task": "preference", "mirror": mirror})


def test_what_is_said_of_a_row_does_not_depend_on_its_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(left_out, "LENGTHS", ((20.0, 60),))
    train = pairs(120, 0)
    swapped = train.copy()
    swapped.loc[7] = train.loc[7, ["rejected", "chosen"]].to_numpy()
    one, other = (
        left_out.judged_left_out(loaded(frame), FiniteSettings()) for frame in (train, swapped)
    )
    (view,), (changed,) = one.views, other.views
    np.testing.assert_array_equal(view.rows[7], changed.rows[7])
    assert not np.array_equal(view.rows, changed.rows)
    np.testing.assert_allclose(view.rows.sum(axis=1), 1)
    assert view.trusted.shape == (40, 2)
    right = view.trusted.argmax(axis=1) == one.trusted_labels
    assert right.mean() > 0.8


def test_fewer_trusted_samples_than_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_out, "LENGTHS", ((20.0, 60),))
    found = left_out.judged_left_out(loaded(pairs(120, 0), trusted=3), FiniteSettings())
    np.testing.assert_allclose(found.views[0].trusted.sum(axis=1), 1)
    assert len(found.views[0].trusted) == len(found.trusted_labels) == 3


def test_the_length_is_chosen_once_and_what_learned_for_so_long_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(left_out, "LENGTHS", ((0.5, 1), (20.0, 60)))
    learn, lengths = left_out._Round.learned, []

    def counted(self: Any, fold: int, length: Any) -> Any:
        lengths.append(length)
        return learn(self, fold, length)

    monkeypatch.setattr(left_out._Round, "learned", counted)
    found = left_out.judged_left_out(loaded(pairs(120, 0)), FiniteSettings())
    each = left_out.FOLDS * left_out.REPEATS
    assert lengths == [(0.5, 1), *[(20.0, 60)] * each]
    monkeypatch.setattr(left_out, "LENGTHS", ((20.0, 60),))
    (only,) = left_out.judged_left_out(loaded(pairs(120, 0)), FiniteSettings()).views
    np.testing.assert_array_equal(found.views[0].rows, only.rows)


@pytest.mark.parametrize(("rows", "length"), [(120, (20.0, 60)), (1000, (2.0, 10))])
def test_what_it_costs_is_said_before_also_of_few_rows(
    monkeypatch: pytest.MonkeyPatch, rows: int, length: tuple[float, int]
) -> None:
    monkeypatch.setattr(left_out, "LENGTHS", ((0.5, 1), length))
    given, said = loaded(pairs(rows, 0)), []
    monkeypatch.setattr(left_out, "expect_more", said.append)
    before = progress.rows_run()
    left_out.judged_left_out(given, FiniteSettings())
    spent = progress.rows_run() - before
    assert given.held_out is not None
    samples = len(given.train) + len(given.held_out)
    assert left_out.most_passes(samples, written=False) == pytest.approx(spent, rel=0.02)
    # Said once the length is known: all but the trial of both lengths.
    (more,) = said
    assert 0.8 * spent < more < spent


def test_the_mirror_that_is_asked_for_is_made_and_one_that_knows_nothing_is_not_believed() -> None:
    train = pairs(120, 0)
    assert learned_left_out(loaded(train, steps=20), settings(steps=20)) is None
    (line, *_) = cost_lines(loaded(train), settings())
    assert line.startswith("the model learns again 15 times from fresh or initial weights, each")
    noise = train.copy()
    flipped = np.random.default_rng(3).random(len(noise)) < 0.5
    noise.loc[flipped] = noise.loc[flipped, ["rejected", "chosen"]].to_numpy()
    only_noise = loaded(noise)
    only_noise = type(only_noise)(**{**vars(only_noise), "held_out": None})
    assert learned_left_out(only_noise, settings()) is None


def test_the_report_says_how_the_labels_were_judged() -> None:
    train = pairs(150, 0)
    train.loc[:9] = train.loc[:9, ["rejected", "chosen"]].to_numpy()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    better, worse = (
        counted(train.rename(columns={side: "answer"})) for side in ("chosen", "rejected")
    )
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        (-nn.functional.logsigmoid(network(better) - network(worse)).mean()).backward()
        optimizer.step()
    result = dataaudit.audit(network, train, pairs(60, 1), preprocess=counted, task="preference")
    assert (result.mislabels["rank"][:10] <= 15).sum() >= 8
    said = result.report.method.settings["mirror"]
    assert str(said).endswith("which it then judges")

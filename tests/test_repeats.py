"""Rows that repeat each other under several labels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dataaudit.flags.inputs import LabelledRows
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.likeness.repeats import contradicted, outvoted
from tests.test_estimator import as_samples


def texts(lines: list[str], labels: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"text": lines, "label": labels})


def test_outvoted_labels() -> None:
    groups, labels = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 0, 1, 0, 1, 1])
    assert outvoted(groups, labels).tolist() == [False, True, False, False, True, False]


def test_the_same_words_under_two_labels_contradict_each_other() -> None:
    lines = [f"line number {place}" for place in range(30)] + ["Line  NUMBER 3", "line number 4"]
    rows = as_samples(texts(lines, ["a", "b"] * 15 + ["a", "a"]))
    assert np.flatnonzero(contradicted(rows)).tolist() == [30]


def test_columns_that_many_people_share_contradict_nothing() -> None:
    frame = pd.DataFrame({"age": [1, 2] * 20, "label": (["a"] * 2 + ["b"] * 2) * 10})
    assert not contradicted(as_samples(frame)).any()


def test_contradicted_rows_are_flagged_and_bound_the_rate() -> None:
    sure = np.tile([[0.999, 0.001]], (100, 1))
    outvoted_rows = np.zeros(100, dtype=bool)
    outvoted_rows[:10] = True
    rows = LabelledRows(
        np.arange(100),
        np.zeros(100, dtype=np.int64),
        ["a", "b"],
        lambda labels: labels,
        sure,
        sure,
        sure,
        contradicted=outvoted_rows,
    )
    flags = flag_mislabels(rows, None)
    assert flags.table["flagged"].to_numpy().tolist() == outvoted_rows.tolist()
    assert flags.noise_rate.low == 0.1
    assert flags.noise_per_class["low"].tolist() == [0.1, 0.0]
    by_rank = flags.table.sort_values("rank")["probability"].to_numpy()
    assert (np.diff(by_rank) <= 0).all()

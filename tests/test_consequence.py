"""What leaks mean for the metric, for labels and for groups."""

import numpy as np
import pytest

from dataaudit.flags.consequence import (
    disagreeing_duplicates,
    identical_pairs,
    metric_without,
    shared_groups,
)
from dataaudit.storage.same_keys import SameKeys


def test_the_metric_without_the_flagged_suspects():
    correct = np.r_[np.ones(50), np.zeros(50), np.ones(50)]
    flagged = np.r_[np.zeros(100, bool), np.ones(50, bool)]
    metric = metric_without(correct, flagged)
    assert metric.everything.estimate == pytest.approx(2 / 3)
    assert metric.clean.estimate == 0.5
    assert 0 < metric.difference.low < metric.difference.estimate < metric.difference.high
    # Of a share p of n samples, the 95 % interval is about p +- 1.96 sqrt(p (1 - p) / n).
    half = (metric.clean.high - metric.clean.low) / 2
    assert half == pytest.approx(1.96 * np.sqrt(0.25 / 100), rel=0.1)


def test_nothing_flagged_changes_nothing_and_everything_flagged_leaves_nothing():
    same = metric_without([1.0, 0.0, 1.0], [False] * 3).difference
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    nothing = metric_without([1.0, 0.0], [True, True])
    assert nothing.everything.estimate == 0.5
    assert np.isnan(nothing.clean.estimate)
    assert np.isnan(nothing.difference.low)


def test_disagreeing_duplicates_once_each():
    table = disagreeing_duplicates(
        ["a", "b", "c"],
        lambda rows: np.array(["cat", "dog", "cat"])[rows],
        [[1, 0], [0, 1], [0, 2]],
        [0.9, 0.9, 0.95],
    )
    assert table.values.tolist() == [["a", "b", "cat", "dog", 0.9]]


def test_identical_rows_are_paired_where_labels_differ():
    keys, labels = np.array([*"xyxxyz"], "S16"), np.array([0, 1, 1, 0, 1, 0])
    assert identical_pairs(SameKeys(keys), labels.__getitem__).tolist() == [[0, 2]]
    assert identical_pairs(SameKeys(keys[:0]), labels.__getitem__).shape == (0, 2)


def test_shared_groups():
    table = shared_groups(["p1", "p2", "p2", None], ["p2", "p3", "p2", "p1", None])
    assert table.values.tolist() == [["p2", 2, 2], ["p1", 1, 1]]
    assert len(shared_groups(["a"], ["b"])) == 0

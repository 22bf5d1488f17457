"""Rows are flagged as wrong only as far as right labels are flagged less often."""

from __future__ import annotations

import numpy as np
import pytest

from dataaudit.flags.beside_right import FEWEST, BesideRight, as_shown
from dataaudit.flags.inputs import LabelledRows, Unseen, View
from dataaudit.flags.judgement import judge_labels
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.results import Interval, MislabelFlags
from dataaudit.flags.unseen_labels import judge_unseen


@pytest.mark.parametrize(
    ("flagged", "right_flagged", "right", "shown"),
    [
        (26, 4, 200, False),
        (60, 4, 200, True),
        (26, 0, 200, True),
        (8, 4, 600, False),
        (40, 4, 600, True),
        (26, 4, FEWEST - 1, True),
        (0, 4, 200, True),
    ],
)
def test_flags_are_shown_where_right_labels_are_flagged_less_often(
    flagged: int, right_flagged: int, right: int, shown: bool
) -> None:
    assert BesideRight(flagged, 600, right_flagged, right).shown == shown


def test_what_right_labels_account_for_is_taken_off() -> None:
    assert BesideRight(60, 600, 4, 200).share_wrong == pytest.approx(1 - 12 / 60)
    assert BesideRight(9, 600, 4, 200).share_wrong == 0.0
    assert BesideRight(0, 600, 4, 200).share_wrong == 0.0


def scattered(errors: float, seed: int, scatter: float = 0.04) -> tuple[np.ndarray, Unseen]:
    """Return labels of two classes, of which some look wrong and are right, and what a model says.

    A model is sure of a class, and right but for a share of the samples, rows and trusted alike.
    """
    generator = np.random.default_rng(seed)
    right = generator.integers(0, 2, 1400)
    seen = np.where(generator.random(1400) < scatter, 1 - right, right)
    of_1 = np.clip(0.5 + (seen - 0.5) * generator.beta(8, 1, 1400), 0.002, 0.998)
    table = np.stack([1 - of_1, of_1], axis=1)
    wrong = generator.random(1000) < errors
    given = np.where(wrong, 1 - right[:1000], right[:1000])
    return given, Unseen([View("a model", table[:1000], table[1000:])], right[1000:])


def flags_of(given: np.ndarray, unseen: Unseen) -> MislabelFlags:
    table = unseen.views[0].rows
    rows = LabelledRows(
        np.arange(len(given)), given, ["a", "b"], lambda labels: labels,
        table, table, table, crosswise=unseen,
    )  # fmt: skip
    return flag_mislabels(rows, None)


def test_right_labels_that_scatter_are_not_flagged() -> None:
    flagged = 0
    for seed in range(3):
        found = flags_of(*scattered(0.0, seed))
        assert found.noise_rate.low == 0.0
        flagged += int(found.table["flagged"].sum())
        assert found.precision_flagged is None or found.precision_flagged.low == 0.0
    assert flagged <= 0.02 * 3000


def test_wrong_labels_among_labels_that_scatter_are_flagged() -> None:
    found = flags_of(*scattered(0.15, 0))
    assert found.noise_rate.low > 0.0
    assert found.table["flagged"].sum() > 100


def test_flags_that_are_not_shown_are_held_back() -> None:
    given, unseen = scattered(0.15, 0)
    before = judge_unseen(given, unseen, repeats=3)
    count = int(before.flagged.sum())
    assert as_shown(before, BesideRight(count, 1000, 0, 400), 0.5) is before
    # 40 % of the flags are what right labels give: no longer proven, yet worth a look.
    few = BesideRight(10, 1000, 2, 400)
    after = as_shown(before, few, 0.5)
    assert not few.shown
    assert after.flagged.sum() == count
    intervals = [after.noise_rate, *after.noise_rate_per_class, after.precision_flagged]
    assert all(isinstance(share, Interval) and share.low == 0.0 for share in intervals)
    assert "2 of 400 right labels" in after.notes[0]
    # All of them are: nothing is flagged, but what a budget asks for.
    many = BesideRight(10, 1000, 5, 400)
    assert not as_shown(before, many, 0.5).flagged.any()
    assert as_shown(before, many, 0.5).precision_flagged is None
    assert as_shown(before, many, None).flagged.sum() == count


def test_no_probability_is_left_that_would_be_flagged() -> None:
    given, unseen = scattered(0.15, 0)
    before = judge_unseen(given, unseen, repeats=3)
    after = as_shown(before, BesideRight(10, 1000, 3, 400), 0.5)  # 25 % of the flags, it says.
    assert after.probability.max() < 0.5
    assert np.allclose(after.probability, before.probability * 0.25)
    assert np.array_equal(np.argsort(-after.score, kind="stable"), np.argsort(before.rank))
    assert after.noise_rate.estimate == pytest.approx(after.probability.mean())
    assert np.allclose(after.noise_table.sum(axis=1), np.bincount(given))
    off = after.noise_table.sum() - np.trace(after.noise_table)
    assert off == pytest.approx(1000 * after.noise_rate.estimate, rel=0.01)


def test_why_flags_are_held_back_is_a_reason() -> None:
    found = flags_of(*scattered(0.03, 7, scatter=0.03))
    assert found.table["flagged"].any()
    assert found.noise_rate.low == 0.0
    told = judge_labels(found)
    assert told.outcome == "found"
    assert "right labels of trusted samples are flagged as well" in told.reasons[1]

"""How many of the flagged rows are wrong: an interval that holds, wide where little is known."""

import numpy as np
import pytest

from dataaudit.flags.flagged_precision import carried_over, precision_of
from dataaudit.flags.results import Interval


def test_none_is_known_of_no_flagged_rows():
    assert precision_of(np.zeros(0), np.array([0.5])) is None
    none = np.zeros(3, dtype=bool)
    assert carried_over(Interval(0.8, 0.6, 1.0), ~none, none, np.full(3, 0.8)) is None


def test_without_redraws_nothing_excludes_any_share():
    assert precision_of(np.array([0.9, 0.7]), np.zeros(0)) == Interval(0.8, 0.0, 1.0)


def test_a_single_row_may_be_wrong_or_right():
    found = precision_of(np.array([0.54]), np.full(20, 0.54))
    assert (found.estimate, found.low, found.high) == (0.54, 0.0, 1.0)


def test_the_interval_holds_for_rows_that_are_wrong_with_their_probability():
    generator = np.random.default_rng(0)
    held = []
    for _ in range(300):
        probability = generator.uniform(0.5, 1.0, generator.integers(1, 200))
        wrong = generator.random(len(probability)) < probability
        found = precision_of(probability, np.full(20, probability.mean()))
        assert found.low <= found.estimate <= found.high
        held.append(found.low <= wrong.mean() <= found.high)
    assert np.mean(held) >= 0.95


def test_redraws_that_differ_widen_it_down_to_what_the_lowest_says():
    probability = np.full(1000, 0.8)
    sure, unsure = (precision_of(probability, drawn) for drawn in (
        np.full(40, 0.8), np.linspace(0.2, 0.9, 40),
    ))  # fmt: skip
    assert sure.low == pytest.approx(0.775, abs=0.003)
    assert unsure.low < 0.22
    assert unsure.high > sure.high


def test_what_is_known_is_carried_over_to_other_flags():
    known, probability = Interval(0.8, 0.5, 0.9), np.full(20, 0.8)
    before = np.arange(20) < 10
    # Of 5 to 9 wrong rows of 10, four are no longer flagged; two others are, of which nothing is
    # known: 1 to 6, and 0 to 2.
    after = (np.arange(20) >= 4) & (np.arange(20) < 12)
    found = carried_over(known, before, after, probability)
    assert (found.low, found.estimate, found.high) == pytest.approx((1 / 8, 0.8, 1.0))
    assert carried_over(known, before, before, probability) == Interval(0.8, 0.5, 0.9)
    assert carried_over(None, ~before & before, after, probability) == Interval(0.8, 0.0, 1.0)

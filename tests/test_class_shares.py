"""Rows and trusted samples that were drawn alike hold the same classes, wrong labels put right."""

import numpy as np

from dataaudit.flags.class_shares import LEVEL, taken_for_usual, unaccounted_class

SHARES = np.array([0.88, 0.06, 0.04, 0.02])


def test_samples_that_are_drawn_alike_hardly_ever_differ():
    generator = np.random.default_rng(0)
    found = [
        unaccounted_class(
            generator.multinomial(2000, SHARES).astype(float), generator.choice(4, 200, p=SHARES), 0
        )
        for _ in range(400)
    ]
    assert np.mean([one is not None for one in found]) <= 2 * LEVEL


def test_a_class_that_is_missed_among_the_rows_is_named():
    generator = np.random.default_rng(1)
    rows = generator.multinomial(2000, SHARES).astype(float)
    rows[0] += rows[1]
    rows[1] = 0.0
    trusted = generator.choice(4, 600, p=SHARES)
    place, of_trusted, of_rows = unaccounted_class(rows, trusted, 0.01)
    assert place in (0, 1)
    assert of_trusted == np.mean(trusted == place)
    assert of_rows == rows[place] / rows.sum()


def test_what_the_stated_interval_accounts_for_is_no_surprise():
    rows, trusted = np.array([900.0, 100.0]), np.repeat([0, 1], [160, 40])
    assert unaccounted_class(rows, trusted, 0.05) is not None
    assert unaccounted_class(rows, trusted, 0.15) is None


def test_trifles_in_large_sets_are_none():
    rows, trusted = np.array([500_000.0, 500_000.0]), np.repeat([0, 1], [101_000, 99_000])
    assert unaccounted_class(rows, trusted, 0.0) is None


def test_trusted_samples_that_were_chosen_class_by_class_say_nothing_of_shares():
    rows = np.array([900.0, 60.0, 40.0])
    even = np.repeat([0, 1, 2], [100, 99, 98])
    assert unaccounted_class(rows, even, 0.0) is None
    assert unaccounted_class(rows, np.repeat([0, 1, 2], [140, 90, 70]), 0.0) is not None


def test_what_is_missed_for_the_usual_class_is_a_doubt_and_other_errors_are_none():
    trusted = np.repeat([0, 1, 2], [80, 12, 8])
    right = np.diag([1600.0, 240, 160])
    missed, slips, few = right.copy(), right.copy(), right.copy()
    missed[0, 1:] = 30, 20  # Given the usual class in the place of another.
    slips[0, 1:], slips[1:, 0] = 4, 30
    few[0, 1] = 5
    assert taken_for_usual(missed, trusted) == 0
    assert taken_for_usual(slips, trusted) is None
    assert taken_for_usual(few, trusted) is None
    assert taken_for_usual(right, trusted) is None
    even = np.repeat([0, 1, 2], 40)
    assert taken_for_usual(missed, even) is None
    assert taken_for_usual(missed[:2, :2], trusted[:92]) is None

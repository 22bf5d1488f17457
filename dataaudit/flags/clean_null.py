"""How alike clean suspects are, checked in the very run; or why that cannot be told.

P-values that are counted are right whatever the distribution; those read from a fitted tail are
only as good as the fit. So the decision is tried on training rows in place of suspects, of which
none has leaked. Where these are flagged, the tail is not believed, and p-values are only counted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from dataaudit.flags.null_distribution import (
    FloatArray,
    Null,
    benjamini_hochberg,
    choose_null,
    p_values,
)

FEWEST_SCORES = 20
TRIALS = 20
"""Audits of calibration samples that stand in for suspects."""
FALSE_ALARMS = 0.2
"""Share of these trials that may flag something: the level of .1, and what 20 trials vary by."""
SMALLEST_SHARE = 0.02
"""Of suspects, that counting alone must be able to flag; else leaks cannot be told."""


def clean_null(
    calibration: ArrayLike, scores: ArrayLike, level: float = 0.10, seed: int = 0
) -> tuple[Null | str, list[str]]:
    """Return how clean suspects score, or why that cannot be told, and notes.

    Parameters
    ----------
    calibration, scores : `[calibration suspects]`, `[suspects]`
        Largest score of each, of those that are not identical to a row.
    level : float
        The false discovery rate for suspects.
    seed : int
    """
    given = np.asarray(calibration, np.float64)
    finite, values = given[np.isfinite(given)], np.asarray(scores, np.float64)
    if len(finite) < FEWEST_SCORES:
        return (
            f"only {len(finite)} training rows can be held against others; to tell how alike clean "
            f"samples are, at least {FEWEST_SCORES} are needed",
            [],
        )
    null, note = choose_null(finite, values, level)
    if not benjamini_hochberg(p_values(null, values), level).any():
        return null, [note]
    alarms = false_alarms(finite, len(values), level, seed)
    if alarms <= FALSE_ALARMS:
        return null, [note]
    counting = replace(null, calibration=np.sort(finite), tail=None)
    found = benjamini_hochberg(p_values(counting, values), level).sum()
    smallest = counting.resolution / level
    if not found and smallest > SMALLEST_SHARE:
        return (
            f"of trials without a leak, {alarms:.0%} flagged samples that are only alike to a row, "
            f"and {len(finite)} training rows are too few to count instead",
            [],
        )
    return counting, [
        f"p-values are counted only, since {alarms:.0%} of trials without a leak flagged some "
        f"otherwise; leaks of less than {smallest:.1%} of the suspects would not be seen"
    ]


def false_alarms(calibration: FloatArray, suspects: int, level: float, seed: int) -> float:
    """Return the share of trials in which the decision flags samples that have not leaked.

    In each, a random half of the calibration samples (at most as many as there are suspects) is
    judged by the others. 1 where they are too few to be divided.
    """
    if len(calibration) < 2 * FEWEST_SCORES:
        return 1.0
    generator = np.random.default_rng(seed)
    count = min(suspects, len(calibration) // 2)
    alarms = 0
    for _ in range(TRIALS):
        order = generator.permutation(len(calibration))
        tried, others = calibration[order[:count]], calibration[order[count:]]
        null, _ = choose_null(others, tried, level)
        alarms += bool(benjamini_hochberg(p_values(null, tried), level).any())
    return alarms / TRIALS

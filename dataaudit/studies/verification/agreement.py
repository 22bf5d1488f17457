"""How well two lists of influences agree: correlations with bootstrap intervals.

Points that share a group of left-out rows are not independent of each other, so that the bootstrap
draws whole groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from dataaudit.report.data import Estimate

Floats = NDArray[np.float64]

DRAWS = 1000
CELLS_AT_ONCE = 100_000
"""Of draws that are compared together."""
FEWEST_GROUPS = 4


@dataclass(frozen=True)
class Agreement:
    """How well predicted influences agree with those measured by training again.

    Attributes
    ----------
    pearson, spearman : Estimate or None
        Correlations, -1 to 1, with percentile intervals, over all points (groups × query
        groups); None where one side does not vary.
    within : Estimate or None
        Mean over query groups of Spearman's correlation over the groups. Where groups are random
        halves of the rows, this is the linear datamodeling score (Park et al., "TRAK", ICML 2023).
    """

    pearson: Estimate | None
    spearman: Estimate | None
    within: Estimate | None


def agreement(measured: Floats, predicted: Floats, seed: int = 0) -> Agreement:
    """Compare predicted with measured influences.

    Parameters
    ----------
    measured, predicted : float64 `[groups, queries]`
        Of each group of rows on each query group, both in the same sense.
    seed : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        The shapes differ, or there are fewer than four groups.
    """
    if measured.shape != predicted.shape or measured.ndim != 2:
        raise ValueError(f"found shapes {measured.shape} and {predicted.shape}")
    if len(measured) < FEWEST_GROUPS:
        raise ValueError(f"found {len(measured)} groups, expected at least {FEWEST_GROUPS}")

    def interval(statistic: Callable[[Floats, Floats], Floats]) -> Estimate | None:
        value = float(statistic(measured[None], predicted[None])[0])
        if np.isnan(value):
            return None
        generator = np.random.default_rng(seed)
        lines = generator.integers(len(measured), size=(DRAWS, len(measured)))
        parts = np.array_split(lines, min(DRAWS, 1 + DRAWS * measured.size // CELLS_AT_ONCE))
        drawn = np.concatenate([statistic(measured[part], predicted[part]) for part in parts])
        drawn = drawn[~np.isnan(drawn)]
        low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (value, value)
        return Estimate(estimate=value, low=min(low, value), high=max(high, value))

    return Agreement(interval(_pearson), interval(_spearman), interval(_within))


def pearson(one: Floats, other: Floats) -> float:
    """Return Pearson's correlation of two `[n]` arrays; NaN where one does not vary."""
    return float(_pearson(one[None], other[None])[0])


def spearman_within(measured: Floats, predicted: Floats) -> float:
    """Return the mean of Spearman's correlation over the columns that vary."""
    return float(_within(measured[None], predicted[None])[0])


def _pearson(one: Floats, other: Floats) -> Floats:
    """Return the correlation of two `[draws, ...]` arrays, draw by draw, `[draws]`."""
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    one, other = one - one.mean(axis=1)[:, None], other - other.mean(axis=1)[:, None]
    return _scaled(one, other)


def _spearman(one: Floats, other: Floats) -> Floats:
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    return _pearson(rankdata(one, axis=1), rankdata(other, axis=1))


def _within(measured: Floats, predicted: Floats) -> Floats:
    """Return the mean over the columns that vary of `[draws, groups, queries]`, `[draws]`."""
    one, other = rankdata(measured, axis=1), rankdata(predicted, axis=1)
    one, other = one - one.mean(axis=1)[:, None], other - other.mean(axis=1)[:, None]
    found = _scaled(one, other)
    varying = ~np.isnan(found)
    count = varying.sum(axis=1)
    total = np.where(varying, found, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _scaled(one: Floats, other: Floats) -> Floats:
    """Return the correlation of `[draws, n, ...]` whose means over `n` are 0; NaN without any."""
    scale = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    # A sum of squares this small is rounding, not variation.
    varying = scale > 1e-300
    found = np.clip((one * other).sum(axis=1) / np.where(varying, scale, 1.0), -1, 1)
    return np.where(varying, found, np.nan)


def ceiling(repeats: Floats) -> float | None:
    """Return the correlation that a perfect prediction would reach against a noisy measurement.

    Training again has noise of its own. The two halves of the repeats are correlated; the
    Spearman–Brown formula gives the reliability of their mean, whose root bounds any correlation
    with it (Spearman, 1910).

    Parameters
    ----------
    repeats : float64 `[repeats, groups, queries]`

    Returns
    -------
    float or None
        0 to 1; None with fewer than two repeats.
    """
    if len(repeats) < 2:
        return None
    halves = repeats[0::2].mean(axis=0), repeats[1::2].mean(axis=0)
    correlation = pearson(halves[0].ravel(), halves[1].ravel())
    if np.isnan(correlation):
        return None
    correlation = max(correlation, 0.0)
    return float(np.sqrt(2 * correlation / (1 + correlation)))

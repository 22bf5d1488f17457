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

    def interval(statistic: Callable[[Floats, Floats], float]) -> Estimate | None:
        value = statistic(measured, predicted)
        if np.isnan(value):
            return None
        generator = np.random.default_rng(seed)
        lines = generator.integers(len(measured), size=(DRAWS, len(measured)))
        drawn = np.array([statistic(measured[line], predicted[line]) for line in lines])
        drawn = drawn[~np.isnan(drawn)]
        low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (value, value)
        return Estimate(estimate=value, low=min(low, value), high=max(high, value))

    return Agreement(
        interval(lambda one, other: pearson(one.ravel(), other.ravel())),
        interval(lambda one, other: pearson(rankdata(one), rankdata(other))),
        interval(spearman_within),
    )


def pearson(one: Floats, other: Floats) -> float:
    """Return Pearson's correlation of two `[n]` arrays; NaN where one does not vary."""
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one @ one) * (other @ other))
    # A sum of squares this small is rounding, not variation.
    return float(np.clip(one @ other / scale, -1, 1)) if scale > 1e-300 else float("nan")


def spearman_within(measured: Floats, predicted: Floats) -> float:
    """Return the mean of Spearman's correlation over the columns that vary."""
    one, other = rankdata(measured, axis=0), rankdata(predicted, axis=0)
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    scale = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    varying = scale > 0
    if not varying.any():
        return float("nan")
    return float(((one * other).sum(axis=0)[varying] / scale[varying]).mean())


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

"""How many of a population are wrong, from rows drawn at random inside strata.

The estimate is the stratified Horvitz-Thompson total (Horvitz and Thompson, "A generalization of
sampling without replacement from a finite universe", JASA 1952). Its interval adds up, by
simulation, the confidence distributions whose quantiles are Clopper and Pearson's limits of each
stratum ("The use of confidence or fiducial limits", Biometrika 1934; summed as in Fay and Feuer,
"Confidence intervals for directly standardized rates", Statistics in Medicine 1997). It holds for
few rows and for shares near 0 or 1, where a normal interval, also that of prediction-powered
inference (Angelopoulos et al., Science 2023), has no width; the milder mid-P version held in 86 %
of the draws where 1 % was wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dataaudit.flags.results import Interval

_DRAWS = 10_000


@dataclass(frozen=True)
class Counted:
    """A part of the population: how many rows it holds, how many were decided, how many wrong."""

    rows: int
    decided: int
    wrong: int


def share_wrong(parts: Sequence[Counted], seed: int = 0) -> Interval:
    """Return the share of wrong rows among all rows of the parts, with its 95 % interval.

    A part of which no row was decided may be all right or all wrong; its estimate is the share of
    the others.

    Parameters
    ----------
    parts : sequence of Counted
        At least one row in all, and one decided.
    seed : int
        Of the simulation; the same numbers give the same interval.
    """
    known = [part for part in parts if part.decided]
    rows, rows_known = sum(part.rows for part in parts), sum(part.rows for part in known)
    total = sum(part.rows * part.wrong / part.decided for part in known)
    generator = np.random.default_rng(seed)
    lower, upper = np.zeros(_DRAWS), np.zeros(_DRAWS)
    for part in known:
        right, unseen = part.decided - part.wrong, part.rows - part.decided
        least = generator.beta(part.wrong, right + 1, _DRAWS) if part.wrong else np.zeros(_DRAWS)
        most = generator.beta(part.wrong + 1, right, _DRAWS) if right else np.ones(_DRAWS)
        lower += part.wrong + generator.binomial(unseen, least)
        upper += part.wrong + generator.binomial(unseen, most)
    low, high = np.quantile(lower, 0.025), np.quantile(upper, 0.975)
    estimate = total / rows_known
    return Interval(
        estimate=float(estimate),
        low=float(min(low / rows, estimate)),
        high=float(max((high + rows - rows_known) / rows, estimate)),
    )


def corrected_for_reviewers(found: Interval, error: float) -> Interval:
    """Return where the share may lie if reviewers err in up to `error` of the rows, either way.

    Rogan and Gladen, "Estimating prevalence from the results of a screening test", American Journal
    of Epidemiology 1978, with equal errors on right and on wrong labels.

    Parameters
    ----------
    found : Interval
        The share that reviewers called wrong.
    error : float
        At least 0, below one half.
    """
    corrected = [
        float(np.clip((value - error) / (1 - 2 * error), 0, 1)) for value in (found.low, found.high)
    ]
    return Interval(
        estimate=float(np.clip((found.estimate - error) / (1 - 2 * error), 0, 1)),
        low=min(found.low, corrected[0]),
        high=max(found.high, corrected[1]),
    )

"""Probabilities corrected by rows that were drawn at random and reviewed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit, log_expit, logit

Floats = NDArray[np.float64]

_SMALLEST = 1e-4
"""Smaller claimed probabilities are all taken for this one: they were never tested."""
_SPREAD_OF_INTERCEPT, _SPREAD_OF_SLOPE = 2.0, 0.7
"""Of the prior: log odds as they were claimed (slope 1), moved up or down."""


def recalibrated(
    claimed: Floats,
    rank: Floats,
    drawn: NDArray[np.int64],
    wrong: Floats,
    weight: Floats,
    rate: float,
) -> Floats:
    """Return probabilities that agree with the reviewed rows, in the order that was claimed.

    Log odds are a line in the claimed log odds, or in those of the rank where that fits the
    reviewed rows better (claimed probabilities may all be near 0). The line is moved until its mean
    is the share that the design gave, so that both numbers agree.

    Parameters
    ----------
    claimed : `[rows]`
        Probabilities of a wrong label.
    rank : `[rows]`
        1 = most suspicious.
    drawn : int `[reviewed]`
        Positions of the reviewed rows.
    wrong : `[reviewed]`
        1 where the label was wrong, else 0.
    weight : `[reviewed]`
        How many rows each speaks for.
    rate : float
        The share of wrong labels that the reviewed rows give by their design.
    """
    rows = len(claimed)
    covariates = (
        logit(np.clip(claimed, _SMALLEST, 1 - _SMALLEST)),
        logit((rows - rank + 0.5) / rows),
    )
    fitted = [_fitted(values, drawn, wrong, weight / weight.mean()) for values in covariates]
    best = int(np.argmin([line.loss for line in fitted]))
    line = fitted[best].intercept + fitted[best].slope * covariates[best]
    # Half a row more or less: a share of exactly 0 or 1 would need infinite log odds.
    wanted = float(np.clip(rate, 0.5 / rows, 1 - 0.5 / rows))
    shift = brentq(lambda move: float(expit(line + move).mean()) - wanted, -60, 60)
    return np.asarray(expit(line + shift))


class _Line(NamedTuple):
    intercept: float
    slope: float
    loss: float


def _fitted(values: Floats, drawn: NDArray[np.int64], wrong: Floats, weight: Floats) -> _Line:
    """Return the line at the mode of its posterior."""
    x, centre = values[drawn], float(values.mean())

    def loss(line: Floats) -> float:
        odds = line[0] + line[1] * (x - centre) + centre
        fit = weight * (wrong * log_expit(odds) + (1 - wrong) * log_expit(-odds))
        prior = (line[0] / _SPREAD_OF_INTERCEPT) ** 2 + ((line[1] - 1) / _SPREAD_OF_SLOPE) ** 2
        return float(prior / 2 - fit.sum())

    # Never falling with the claimed order: reviewed rows are too few to turn a ranking around.
    found = minimize(loss, np.array([0.0, 1.0]), bounds=[(None, None), (0.0, None)])
    intercept, slope = found.x
    return _Line(float(intercept + centre - slope * centre), float(slope), float(found.fun))

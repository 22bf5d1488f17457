"""Evidence against given targets: how residuals are distributed where targets are right, and wrong.

Right targets scatter around the prediction, with tails as heavy as the data have them (Student's
t), and some lie further off by nature, as right references show. How far off wrong ones lie depends
on what went wrong. Slips within the range of the targets are like the planted errors; gross ones (a
decimal point, a unit) are not, so the rows themselves tell how gross, by expectation maximization
(Dempster, Laird and Rubin, JRSS B 1977; for Student's t: Peel and McLachlan, Statistics and
Computing 2000). The sizes of either kind are taken as log-normal: they differ by factors, and none
of them is near 0, because what lies within the noise is not called an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from dataaudit.flags.probabilities import Values

TAILS = (3.0, 6.0, 30.0)
"""Degrees of freedom tried for right residuals: from heavy tails to nearly Gaussian ones."""
GROSS_SIZE = 6.0
"""Median size of gross errors in right scales, before the rows say anything."""
GROSS_SPREAD = 0.6
"""Standard deviation of its logarithm, likewise."""
GROSS_ROWS = 10.0
"""Weight, in rows, of these two assumptions."""
LEAST_GROSS = 3.0
"""Smallest median size of gross errors, in right scales."""
LEAST_SPREAD = 0.3
MOST_OUTLIERS = 0.9
"""Of right targets. Models that predict many of them exactly, as forests do where targets follow a
rule, are off by any amount elsewhere."""
RIGHT_BELOW = 0.95
"""Share of the right references beyond which gross errors lie, most of them."""
STEPS = 60
BINS = 600
"""Squared residuals are counted in so many bins, each 9 % wider than the one before."""
FIRST_RATE = 0.05
SLIPS_BEYOND = 0.9
"""Quantile of the right references that most planted errors have to exceed. Otherwise they say
nothing of what is wrong, and would only fill in for what Student's t misses of what is right."""
SMALLEST = 1e-9
TINY = 1e-300
GRID = np.exp(np.linspace(-12, 40, BINS))
"""The middles of the bins, between which the evidence is interpolated."""


@dataclass(frozen=True)
class Sizes:
    """A log-normal distribution of the sizes of errors of one kind: mean and spread of the log."""

    mean: float
    spread: float

    def log_density(self, squares: Values) -> Values:
        """Return the log density of the sizes whose squares are given."""
        logs = np.log(np.maximum(squares, SMALLEST)) / 2
        off = (logs - self.mean) / self.spread
        return np.asarray(-0.5 * off**2 - np.log(self.spread * np.sqrt(2 * np.pi)) - logs)


@dataclass(frozen=True)
class TargetEvidence:
    """How the sizes of residuals are distributed, where targets are right and where wrong.

    Attributes
    ----------
    scale, tail : float
        Of right residuals, Student's t around 0: scale and degrees of freedom.
    kinds : tuple of Sizes
        The kinds of errors.
    rates : tuple of float
        Share of rows with each kind of error.
    outliers : Sizes
        Right targets that lie far off by nature.
    outlier_share : float
        Of the right targets.
    """

    scale: float
    tail: float
    kinds: tuple[Sizes, ...]
    rates: tuple[float, ...]
    outliers: Sizes = Sizes(0.0, 1.0)
    outlier_share: float = 0.0

    def log_ratios(self, signals: Values) -> Values:
        """Return the log likelihood ratio "wrong : right" of each row, `[rows]`, nats.

        It never falls as the residual grows: beyond the largest errors that the fit has in mind,
        an error is as probable as there.

        Parameters
        ----------
        signals : `[rows, 1]`
            log(1 + residual²), as `target_signals` returns them.
        """
        wrong = np.logaddexp.reduce(self._joint(GRID)[:, 1:], axis=1) - np.log(sum(self.rates))
        rising = np.maximum.accumulate(wrong - self._right(GRID))
        squares = np.maximum(np.expm1(signals[:, 0]), GRID[0])
        return np.interp(np.log(squares), np.log(GRID), rising)

    def _right(self, squares: Values) -> Values:
        return np.asarray(np.logaddexp.reduce(self._kinds_of_right(squares), axis=1))

    def _kinds_of_right(self, squares: Values) -> Values:
        """Return the log density times share of usual right targets and of outliers, `[n, 2]`."""
        tail, scale = self.tail, self.scale
        constant = gammaln((tail + 1) / 2) - gammaln(tail / 2) - 0.5 * np.log(tail * np.pi)
        falling = (tail + 1) / 2 * np.log1p(squares / (tail * scale**2))
        usual = np.log(2) + constant - np.log(scale) - falling
        share = self.outlier_share
        return np.stack(
            [
                usual + np.log1p(-share),
                self.outliers.log_density(squares) + np.log(share + TINY),
            ],
            axis=1,
        )

    def _joint(self, squares: Values) -> Values:
        """Return the log density times rate of being right and of each kind, `[n, 1 + kinds]`."""
        columns = [self._right(squares) + np.log1p(-sum(self.rates))]
        for kind, rate in zip(self.kinds, self.rates, strict=True):
            columns.append(kind.log_density(squares) + np.log(rate))
        return np.stack(columns, axis=1)

    def likelihood(self, rows: Values, right: Values) -> float:
        """Return the log likelihood of rows and right references, counted in bins."""
        mixed = np.logaddexp.reduce(self._joint(GRID), axis=1)
        return float(rows @ mixed + right @ self._right(GRID))


def fit_target_evidence(
    rows: Values,
    references: Values | None = None,
    planted: NDArray[np.bool_] | None = None,
    tails: Sequence[float] = TAILS,
) -> TargetEvidence:
    """Fit the distributions on rows, of which nobody knows which are wrong, and on references.

    Parameters
    ----------
    rows : `[rows]`
        Signals log(1 + residual²) of the model that learned again.
    references : `[references]` or None
        The same of trusted samples. Without them, only gross errors are thought of.
    planted : bool `[references]` or None
        Which of them are wrong.
    tails : sequence of float
        Degrees of freedom of right residuals to choose from, by likelihood.
    """
    right = np.zeros(0)
    slips: tuple[Sizes, ...] = ()
    if references is not None and planted is not None:
        right = np.expm1(references[~planted])
        logs = np.log(np.maximum(np.expm1(references[planted]), SMALLEST)) / 2
        # By quantiles: a planted error may happen to hit the prediction.
        low, middle, high = np.quantile(logs, [0.16, 0.5, 0.84])
        if middle > np.log(np.quantile(right, SLIPS_BEYOND)) / 2:
            slips = (Sizes(float(middle), max(float(high - low) / 2, LEAST_SPREAD)),)
    counts = _counted(np.expm1(rows)), _counted(right)
    least = float(np.sqrt(np.quantile(right, RIGHT_BELOW))) if len(right) else 0.0
    fits = [_fit(*counts, slips, tail, least) for tail in tails]
    return max(fits, key=lambda fit: fit[0])[1]


def _fit(
    rows: Values, right: Values, slips: tuple[Sizes, ...], tail: float, least: float
) -> tuple[float, TargetEvidence]:
    """Return the log likelihood and the evidence for one tail of right residuals.

    `rows` and `right` (references) say how many squared residuals lie in each bin; `least` is the
    smallest median size of gross errors.
    """
    total = (rows + right).sum()
    logs = np.log(GRID) / 2
    middle = GRID[np.searchsorted((rows + right).cumsum(), total / 2)]
    scale = float(np.sqrt(middle)) / 0.75
    gross = Sizes(float(np.log(max(GROSS_SIZE * scale, least))), GROSS_SPREAD)
    kinds = (*slips, gross)
    rates = (FIRST_RATE / len(kinds),) * len(kinds)
    share = FIRST_RATE if right.any() else 0.0
    fit = TargetEvidence(scale, tail, kinds, rates, gross, share)
    for _ in range(STEPS):
        joint = fit._joint(GRID)
        shares = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
        shares *= rows[:, None]
        found = np.clip(shares[:, 1:].sum(axis=0) / rows.sum(), 1e-6, 0.4)
        kinds_of_right = fit._kinds_of_right(GRID)
        usual = np.exp(kinds_of_right[:, 0] - np.logaddexp.reduce(kinds_of_right, axis=1))
        pull = (tail + 1) / (tail + GRID / fit.scale**2)
        weights = usual * (shares[:, 0] + right)
        scale = float(np.sqrt((weights * pull * GRID).sum() / weights.sum()))
        # Only references say what is right and far off: of rows nobody knows.
        far = (1 - usual) * right
        fit = TargetEvidence(
            scale,
            tail,
            (*slips, _gross(logs, shares[:, -1], scale, least)),
            tuple(found.tolist()),
            _gross(logs, far, scale),
            min(float(far.sum() / right.sum()), MOST_OUTLIERS) if right.any() else 0.0,
        )
    return fit.likelihood(rows, right), fit


def _counted(squares: Values) -> Values:
    """Return how many squared residuals are nearest to each point of the grid, `[BINS]`."""
    step = np.log(GRID[1] / GRID[0])
    places = np.log(np.maximum(squares, GRID[0]) / GRID[0]) / step
    nearest = np.minimum(places.round().astype(np.int64), BINS - 1)
    return np.bincount(nearest, minlength=BINS).astype(np.float64)


def _gross(logs: Values, weights: Values, scale: float, least: float = 0.0) -> Sizes:
    """Return the sizes of what is far off, from rows that seem to be and assumptions."""
    total = float(weights.sum()) + GROSS_ROWS
    assumed = float(np.log(max(GROSS_SIZE * scale, least)))
    mean = (float(weights @ logs) + GROSS_ROWS * assumed) / total
    mean = max(mean, float(np.log(max(LEAST_GROSS * scale, least))))
    squares = float(weights @ (logs - mean) ** 2)
    squares += GROSS_ROWS * (GROSS_SPREAD**2 + (assumed - mean) ** 2)
    return Sizes(mean, max(float(np.sqrt(squares / total)), LEAST_SPREAD))

"""The right class of a sample, as trusted samples teach to read it from several views.

A view is a table of class probabilities from a model that was fitted without the sample that it
judges. Rows and trusted samples are seen alike, so what holds of the trusted samples, whose right
class is known, holds of the rows, whatever was done to their given labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from dataaudit.flags.probabilities import Labels, Values, softmax

SMOOTHINGS = (1e-6, 1e-3, 1e-2, 5e-2)
"""Shares of even probabilities that are mixed into a view before its logarithm is taken. Forests
and neighbours say 0 where they mean "none of so few"; the trusted samples choose."""
RIDGE = 1.0
"""In trusted samples, towards the mean of the views and towards no preference for a class."""


@dataclass(frozen=True)
class RightClasses:
    """A conditional logit model (McFadden 1974) of the right class, given the views.

    Attributes
    ----------
    smoothing : float
        One of `SMOOTHINGS`.
    weights : float64 `[views]`
        Of the views' log probabilities, none negative.
    preferences : float64 `[C]`
        For each class, nats.
    """

    smoothing: float
    weights: Values
    preferences: Values

    @classmethod
    def fit(
        cls,
        views: Sequence[Values],
        labels: Labels,
        weights: Values | None = None,
        smoothing: float | None = None,
        slips: float | None = None,
    ) -> RightClasses:
        """Fit the model to trusted samples.

        Parameters
        ----------
        views : sequence of float64 `[trusted, C]`
        labels : int64 `[trusted]`
            The right classes.
        weights : float64 `[trusted]` or None
            How much each sample counts; None: 1.
        smoothing : float or None
            None: the one under which the trusted samples are most likely.
        slips : float or None
            Share of each sample that is taken to be of any class: where 200 samples show no
            error, the next one still may (Platt 1999). None: one sample in all.
        """
        right = np.zeros((len(labels), views[0].shape[1]))
        right[np.arange(len(labels)), labels] = 1.0
        share = 1 / (len(labels) + 2) if slips is None else slips
        targets = (1 - share) * right + share / right.shape[1]
        times = np.ones(len(labels)) if weights is None else weights
        candidates = SMOOTHINGS if smoothing is None else (smoothing,)
        fits = [_fit(views, targets, times, value) for value in candidates]
        return min(fits, key=lambda fit: fit[0])[1]

    def probabilities(self, views: Sequence[Values]) -> Values:
        """Return the probability of each right class, float64 `[samples, C]`, none of them 0."""
        return softmax(
            np.tensordot(self.weights, _logs(views, self.smoothing), 1) + self.preferences
        )


def _logs(views: Sequence[Values], smoothing: float) -> Values:
    even = 1 / views[0].shape[1]
    return np.log(np.stack([(view + smoothing * even) / (1 + smoothing) for view in views]))


def _fit(
    views: Sequence[Values], targets: Values, times: Values, smoothing: float
) -> tuple[float, RightClasses]:
    """Return the penalised loss, nats, and the model."""
    logs = _logs(views, smoothing)
    number, _, classes = logs.shape
    even = 1 / number

    def loss(parameters: Values) -> tuple[float, Values]:
        weights, preferences = parameters[:number], parameters[number:]
        found = softmax(np.tensordot(weights, logs, 1) + preferences)
        off = times[:, None] * (found - targets)
        value = -(times[:, None] * targets * np.log(found)).sum()
        value += RIDGE / 2 * (number * ((weights - even) ** 2).sum() + (preferences**2).sum())
        slopes = np.tensordot(logs, off, 2) + RIDGE * number * (weights - even)
        return float(value), np.concatenate([slopes, off.sum(axis=0) + RIDGE * preferences])

    found = minimize(
        loss,
        np.concatenate([np.full(number, even), np.zeros(classes)]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * number + [(None, None)] * classes,
    )
    return float(found.fun), RightClasses(smoothing, found.x[:number], found.x[number:])

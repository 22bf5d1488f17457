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

SMOOTHINGS = (1e-12, 1e-2)
"""Shares of even probabilities that are mixed into a view before its logarithm is taken. Forests
and neighbours say 0 where they mean "none of so few", naive Bayes where it means "rather not".
Each view counts under all of them, and their weights bend how far it is believed."""
RIDGE = 1.0
"""In samples, towards the mean of the views and towards no preference for a class."""
MOST_STEPS = 100


@dataclass(frozen=True)
class RightClasses:
    """A conditional logit model (McFadden 1974) of the right class, given the views.

    Attributes
    ----------
    weights : float64 `[views, smoothings]`
        Of the views' smoothed log probabilities, none negative.
    preferences : float64 `[C]`
        For each class, nats.
    """

    weights: Values
    preferences: Values

    @classmethod
    def fit(
        cls,
        views: Sequence[Values],
        labels: Labels,
        weights: Values | None = None,
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
        slips : float or None
            As for `targets`.
        """
        times = np.ones(len(labels)) if weights is None else weights
        return cls.fit_to(logs_of(views), targets(labels, views[0].shape[1], slips), times)

    @classmethod
    def fit_to(
        cls, logs: Values, right: Values, times: Values, start: RightClasses | None = None
    ) -> RightClasses:
        """Fit the model to samples whose right classes are known by probability.

        Parameters
        ----------
        logs : float64 `[views, smoothings, samples, C]`
            As `logs_of` returns them.
        right : float64 `[samples, C]`
            Probability of each right class.
        times : float64 `[samples]`
            How much each sample counts.
        start : RightClasses or None
            Where the search starts; None: at the mean of the views.
        """
        shape, classes = logs.shape[:2], logs.shape[3]
        number = shape[0] * shape[1]
        even = 1 / number

        def loss(parameters: Values) -> tuple[float, Values]:
            weights, preferences = parameters[:number].reshape(shape), parameters[number:]
            found = softmax(np.tensordot(weights, logs, 2) + preferences)
            off = times[:, None] * (found - right)
            value = -(times[:, None] * right * np.log(found)).sum()
            value += RIDGE / 2 * (number * ((weights - even) ** 2).sum() + (preferences**2).sum())
            slopes = np.tensordot(logs, off, 2) + RIDGE * number * (weights - even)
            return float(value), np.concatenate(
                [slopes.ravel(), off.sum(axis=0) + RIDGE * preferences]
            )

        first = cls(np.full(shape, even), np.zeros(classes)) if start is None else start
        found = minimize(
            loss,
            np.concatenate([first.weights.ravel(), first.preferences]),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, None)] * number + [(None, None)] * classes,
            options={"maxiter": MOST_STEPS},
        )
        return cls(found.x[:number].reshape(shape), found.x[number:])

    def probabilities(self, views: Sequence[Values]) -> Values:
        """Return the probability of each right class, float64 `[samples, C]`, none of them 0."""
        logits = np.tile(self.preferences, (len(views[0]), 1))
        for view, weights in zip(views, self.weights, strict=True):
            for smoothing, weight in zip(SMOOTHINGS, weights, strict=True):
                if weight > 0:
                    logits += weight * _log(view, smoothing)
        return softmax(logits)

    def probabilities_of(self, logs: Values) -> Values:
        """Return the same for views whose logarithms were taken before; see `logs_of`."""
        return softmax(np.tensordot(self.weights, logs, 2) + self.preferences)


def logs_of(views: Sequence[Values]) -> Values:
    """Return each view's log probabilities, smoothed in each way.

    Parameters
    ----------
    views : sequence of float64 `[samples, C]`

    Returns
    -------
    float64 `[views, smoothings, samples, C]`
    """
    return np.stack([np.stack([_log(view, share) for share in SMOOTHINGS]) for view in views])


def targets(labels: Labels, classes: int, slips: float | None = None) -> Values:
    """Return the probability of each right class of trusted samples, float64 `[trusted, C]`.

    Parameters
    ----------
    labels : int64 `[trusted]`
    classes : int
    slips : float or None
        Share of each sample that is taken to be of any class: where 200 samples show no error,
        the next one still may (Platt 1999). None: one sample in all.
    """
    share = 1 / (len(labels) + 2) if slips is None else slips
    result = np.full((len(labels), classes), share / classes)
    result[np.arange(len(labels)), labels] += 1 - share
    return result


def _log(view: Values, smoothing: float) -> Values:
    return np.asarray(np.log((view + smoothing / view.shape[1]) / (1 + smoothing)))

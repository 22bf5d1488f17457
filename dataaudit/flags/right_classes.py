"""The right class of a sample, as trusted samples teach to read it from several views.

A view is a table of class probabilities from a model that was fitted without the sample that it
judges. Rows and trusted samples are seen alike, so what holds of the trusted samples, whose right
class is known, holds of the rows, whatever was done to their given labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from dataaudit.flags.probabilities import Labels, Values, softmax

SMOOTHINGS = (1e-12, 1e-2)
"""Shares of even probabilities that are mixed into a view before its logarithm is taken. Forests
and neighbours say 0 where they mean "none of so few"."""
READINGS = len(SMOOTHINGS) + 1
RIDGE = 1.0
"""In samples, towards the mean of the views and towards no preference for a class."""
MOST_STEPS = 100


@dataclass(frozen=True)
class Scale:
    """How views are read: as log probabilities, held back or not, and by rank among the rows.

    Naive Bayes is sure of nearly everything, and its prior is off by far; what holds of it is the
    order. So each class also has the logarithm of a probability's rank among the rows'.

    Attributes
    ----------
    sorted : sequence of float64 `[C, rows]`
        Each view's probabilities of rows, in order.
    """

    sorted: tuple[Values, ...]

    @classmethod
    def of(cls, rows: Sequence[Values]) -> Scale:
        """Return the scale of some rows' views, float64 `[rows, C]` each."""
        return cls(tuple(np.sort(view, axis=0).T for view in rows))

    def readings(self, views: Sequence[Values]) -> Iterator[Values]:
        """Yield `[samples, C]` for each reading of each view of some samples."""
        for view, known in zip(views, self.sorted, strict=True):
            for smoothing in SMOOTHINGS:
                yield np.log((view + smoothing / view.shape[1]) / (1 + smoothing))
            yield np.stack([_log_rank(*pair) for pair in zip(view.T, known, strict=True)], axis=1)

    def read(self, views: Sequence[Values]) -> Values:
        """Return all readings, float64 `[views, READINGS, samples, C]`."""
        return np.stack(list(self.readings(views))).reshape(len(views), READINGS, *views[0].shape)


@dataclass(frozen=True)
class RightClasses:
    """A conditional logit model (McFadden 1974) of the right class, given the views.

    Attributes
    ----------
    weights : float64 `[views, READINGS]`
        None negative.
    preferences : float64 `[C]`
        For each class, nats.
    """

    weights: Values
    preferences: Values

    @classmethod
    def fit(
        cls,
        logs: Values,
        right: Values,
        times: Values | None = None,
        start: RightClasses | None = None,
    ) -> RightClasses:
        """Fit the model to samples whose right classes are known by probability.

        Parameters
        ----------
        logs : float64 `[views, READINGS, samples, C]`
            As `Scale.read` returns them.
        right : float64 `[samples, C]`
            Probability of each right class.
        times : float64 `[samples]` or None
            How much each sample counts; None: 1.
        start : RightClasses or None
            Where the search starts; None: at the mean of the views.
        """
        shape, (samples, classes) = logs.shape[:2], logs.shape[2:]
        number = shape[0] * shape[1]
        even = 1 / number
        # Class by class: sums over a short last axis would take most of the time.
        flat = logs.reshape(number, samples, classes).transpose(0, 2, 1).reshape(number, -1)
        weighted = np.ascontiguousarray(right.T if times is None else right.T * times)
        total = weighted.sum(axis=0)

        def loss(parameters: Values) -> tuple[float, Values]:
            weights, preferences = parameters[:number], parameters[number:]
            logits = (weights @ flat).reshape(classes, samples) + preferences[:, None]
            logits -= logits.max(axis=0)
            found = np.exp(logits)
            sums = found.sum(axis=0)
            off = found * (total / sums) - weighted
            value = float(total @ np.log(sums) - np.vdot(weighted, logits))
            value += RIDGE / 2 * (number * ((weights - even) ** 2).sum() + (preferences**2).sum())
            slopes = flat @ off.ravel() + RIDGE * number * (weights - even)
            return value, np.concatenate([slopes, off.sum(axis=1) + RIDGE * preferences])

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

    def probabilities(self, scale: Scale, views: Sequence[Values]) -> Values:
        """Return the probability of each right class, float64 `[samples, C]`, none of them 0."""
        logits = np.tile(self.preferences, (len(views[0]), 1))
        for weight, reading in zip(self.weights.ravel(), scale.readings(views), strict=True):
            logits += weight * reading
        return softmax(logits)

    def probabilities_of(self, logs: Values) -> Values:
        """Return the same for views that were read before; see `Scale.read`."""
        return softmax(np.tensordot(self.weights, logs, 2) + self.preferences)


def targets(labels: Labels, classes: int, slips: float | None = None) -> Values:
    """Return the probability of each right class of trusted samples, float64 `[trusted, C]`.

    Parameters
    ----------
    labels : int64 `[trusted]`
    classes : int
    slips : float or None
        Share of the samples of which nothing is known: where 200 samples show no error, the next
        one still may (Platt 1999). None: one sample in all. Half of them are of another class,
        however many there are: how far a view may be believed that speaks against a label does not
        depend on how many other labels there would have been.
    """
    other = (1 / (len(labels) + 2) if slips is None else slips) / 2
    result = np.full((len(labels), classes), other / max(classes - 1, 1))
    result[np.arange(len(labels)), labels] = 1 - other
    return result


def _log_rank(values: Values, known: Values) -> Values:
    """Return the logarithm of each value's rank among known ones, 0 to 1; ties in the middle."""
    below = np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")
    return np.asarray(np.log((below + 1) / (2 * len(known) + 2)))

"""Kinds of label errors: how a right class becomes another given one, fitted to the rows.

Each kind says how probable a given label is for a right class, and what share of the rows is
wrong. Their parameters are found by maximum likelihood, given the probabilities of each row's
right class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dataaudit.flags.probabilities import Labels, Values, pick

PRIOR_ROWS = 20.0
"""Weight, in rows for each class, of errors that fall on all other classes alike."""
ROUNDS = 200
CHANGE = 1e-6
STARTING_RATE = 0.05
SMALLEST_RATE = 1e-7
LEAST_AMBIGUITY = 0.02
"""Of a row whose right class is beyond doubt: people slip there, too."""
RATES = np.concatenate([[SMALLEST_RATE], np.geomspace(0.002, 0.5, 40)])


class Kind(Protocol):
    """How labels go wrong."""

    @property
    def parameters(self) -> int:
        """How many numbers were fitted."""
        ...

    def sources(self, right: Values, given: Labels) -> Values:
        """Return the probability of each right class together with the given one, `[rows, C]`.

        Parameters
        ----------
        right : float64 `[rows, C]`
            The probability of each right class.
        given : int64 `[rows]`
        """
        ...


@dataclass(frozen=True)
class ByClass:
    """Errors that depend on the right class alone.

    Attributes
    ----------
    table : float64 `[C, C]`
        P(given class | right class), rows of right classes sum to 1.
    parameters : int
        How many numbers were fitted.
    """

    table: Values
    parameters: int

    @classmethod
    def even(cls, right: Values, given: Labels) -> ByClass:
        """Fit one rate for errors that fall on all other classes alike."""
        own = pick(right, given)
        other = (1 - own) / (right.shape[1] - 1)
        rate = _most_likely_rate(own, other)
        return cls(_even(rate, right.shape[1]), 1)

    @classmethod
    def free(cls, right: Values, given: Labels) -> ByClass:
        """Fit a rate for every pair of classes (Dawid and Skene, Applied Statistics 1979)."""
        classes = right.shape[1]
        table = cls.even(right, given).table
        table = 0.9 * table + 0.1 * _even(STARTING_RATE, classes)
        members = [given == label for label in range(classes)]
        for _ in range(ROUNDS):
            joint = right * table.T[given]
            joint /= joint.sum(axis=1, keepdims=True)
            counts = np.stack([joint[inside].sum(axis=0) for inside in members], axis=1)
            rate = max(SMALLEST_RATE, 1 - float(np.trace(counts)) / len(given))
            after = counts + PRIOR_ROWS * _even(rate, classes)
            after /= after.sum(axis=1, keepdims=True)
            change, table = float(np.abs(after - table).max()), after
            if change < CHANGE:
                break
        return cls(table, classes * (classes - 1))

    def sources(self, right: Values, given: Labels) -> Values:
        """See `Kind`."""
        return np.asarray(right * self.table.T[given])


@dataclass(frozen=True)
class ByDoubt:
    """Errors in proportion to how doubtful a row is, towards the classes that it looks like.

    Attributes
    ----------
    rate : float
        Share of wrong labels.
    doubt : float
        Mean doubt of the rows that it was fitted on.
    parameters : int
        Two for its form, which was chosen among others: errors that do not depend on doubt are
        preferred where the rows say little.
    """

    rate: float
    doubt: float
    parameters: int = 3

    @classmethod
    def fit(cls, right: Values, given: Labels) -> ByDoubt:
        """Fit the rate."""
        mean = float(_doubt(right).mean())
        kinds = [cls(float(rate), mean) for rate in RATES]
        return max(kinds, key=lambda kind: np.log(kind.sources(right, given).sum(axis=1)).sum())

    def sources(self, right: Values, given: Labels) -> Values:
        """See `Kind`."""
        wrong = np.minimum(0.95, self.rate * _doubt(right) / self.doubt)
        own = pick(right, given)
        result = (wrong * own)[:, None] * right / np.maximum(1 - right, 1e-12)
        result[np.arange(len(given)), given] = own * (1 - wrong)
        return np.asarray(result)


def _doubt(right: Values) -> Values:
    return np.asarray(1 - right.max(axis=1) + LEAST_AMBIGUITY)


def _even(rate: float, classes: int) -> Values:
    table = np.full((classes, classes), rate / (classes - 1))
    np.fill_diagonal(table, 1 - rate)
    return table


def _most_likely_rate(own: Values, other: Values) -> float:
    """Return the rate that makes `own * (1 - rate) + other * rate` most likely, by bisection."""
    low, high = SMALLEST_RATE, 1 - SMALLEST_RATE
    for _ in range(40):
        middle = (low + high) / 2
        slope = float(((other - own) / (own + (other - own) * middle)).sum())
        low, high = (middle, high) if slope > 0 else (low, middle)
    return (low + high) / 2

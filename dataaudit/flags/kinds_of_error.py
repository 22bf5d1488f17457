"""Kinds of label errors: how a right class becomes another given one, fitted to the rows.

Each kind says how probable a given label is for a right class, and what share of the rows is
wrong. Their parameters are found by maximum likelihood, given the probabilities of each row's
right class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dataaudit.flags.probabilities import Labels, Values, pick

PRIOR_ROWS = 20.0
"""Weight, in rows for each class, of errors that fall on all other classes alike."""
ROUNDS = 200
ROUNDS_TO_CHOOSE = 10
"""Before the pair or the class is chosen whose errors are the most."""
CHANGE = 1e-6
STARTING_RATE = 0.05
SMALLEST_RATE = 1e-7
LEAST_AMBIGUITY = 0.02
"""Of a row whose right class is beyond doubt: people slip there, too."""
LEAST_LIKENESS = (1e-4, 1e-3, 1e-2)
"""Of every class to every row, to be chosen among: people also give classes that a row does not
look like."""
SOME_LIKENESS = 0.03
"""A class that a row looks like by this much is given half as often as one that it looks nothing
like, where errors go to such classes."""
LEAST_SLIPS = 0.02
"""Where most errors are of one pair of classes, or into one class, the most likely rate of others
is often none at all, since a model that learned such labels shows none. People slip there, too."""
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

    @property
    def slips(self) -> float:
        """Share of the labels that may be wrong in ways that the rows do not show."""
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
    slips : float
        Share of the labels that may be wrong in other ways, towards what a row looks like.
    """

    table: Values
    parameters: int
    slips: float = 0.0

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
        table, _ = _fitted(right, given, _each)
        return cls(table, right.shape[1] * (right.shape[1] - 1))

    @classmethod
    def one_pair(cls, right: Values, given: Labels) -> ByClass:
        """Fit a rate for one class taken for another, and one for all other errors.

        Which pair it is, of all of them, counts as two further numbers.
        """
        counts = _counts_of_errors(right, given)
        special = np.zeros(counts.shape, dtype=bool)
        special[np.unravel_index(counts.argmax(), counts.shape)] = True
        return cls(_two_rates(right, given, special), 4, LEAST_SLIPS)

    @classmethod
    def into_one(cls, right: Values, given: Labels) -> ByClass:
        """Fit a rate for one class given instead of any other, and one for all other errors.

        Which class it is counts as one further number.
        """
        counts = _counts_of_errors(right, given)
        special = np.zeros(counts.shape, dtype=bool)
        special[:, counts.sum(axis=0).argmax()] = True
        return cls(_two_rates(right, given, special), 3, LEAST_SLIPS)

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
    slips: float = 0.0

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


@dataclass(frozen=True)
class ByLikeness:
    """Errors that fall on all rows alike, towards the classes that a row looks like.

    Attributes
    ----------
    rate : float
        Share of wrong labels.
    least : float
        Of `LEAST_LIKENESS`.
    parameters : int
        One for its form, which was chosen among others.
    """

    rate: float
    least: float
    parameters: int = 3
    slips: float = 0.0

    @classmethod
    def fit(cls, right: Values, given: Labels) -> ByLikeness:
        """Fit both numbers."""
        own, kinds = pick(right, given), []
        for least in LEAST_LIKENESS:
            mistaken = _mistaken(right, given, least).sum(axis=1)
            rate = _most_likely_rate(own, mistaken)
            fit = float(np.log(own * (1 - rate) + mistaken * rate).sum())
            kinds.append((fit, cls(rate, least)))
        return max(kinds, key=lambda kind: kind[0])[1]

    def sources(self, right: Values, given: Labels) -> Values:
        """See `Kind`."""
        result = self.rate * _mistaken(right, given, self.least)
        result[np.arange(len(given)), given] = pick(right, given) * (1 - self.rate)
        return result


@dataclass(frozen=True)
class ByUnlikeness:
    """Errors that fall on all rows alike, towards the classes that a row does not look like.

    Slips of the hand and of forms are such. A class that a row looks like is then not given more
    often than it is right, so that the errors that are seen are nearly all that there are.

    Attributes
    ----------
    rate : float
        Share of wrong labels.
    parameters : int
        One for its form, which was chosen among others.
    """

    rate: float
    parameters: int = 2
    slips: float = 0.0

    @classmethod
    def fit(cls, right: Values, given: Labels) -> ByUnlikeness:
        """Fit the rate."""
        return cls(_most_likely_rate(pick(right, given), _unlike(right, given).sum(axis=1)))

    def sources(self, right: Values, given: Labels) -> Values:
        """See `Kind`."""
        result = self.rate * _unlike(right, given)
        result[np.arange(len(given)), given] = pick(right, given) * (1 - self.rate)
        return result


def with_slips(sources: Values, right: Values, given: Labels, slips: float) -> Values:
    """Return sources with room for errors that the rows do not show, to rank them by, `[rows, C]`.

    Parameters
    ----------
    sources, right : float64 `[rows, C]`
    given : int64 `[rows]`
    slips : float
        Of the kind that the sources are of.
    """
    if slips == 0:
        return sources
    return np.asarray((1 - slips) * sources + slips * _mistaken(right, given, LEAST_LIKENESS[1]))


def _each(counts: Values) -> Values:
    """Return a table with a rate for each pair of classes, from expected counts `[C, C]`."""
    rate = max(SMALLEST_RATE, 1 - float(np.trace(counts) / counts.sum()))
    table = counts + PRIOR_ROWS * _even(rate, len(counts))
    return np.asarray(table / table.sum(axis=1, keepdims=True))


def _counts_of_errors(right: Values, given: Labels) -> Values:
    """Return about how many rows of each class have each other label, float64 `[C, C]`."""
    counts = _fitted(right, given, _each, ROUNDS_TO_CHOOSE)[1]
    np.fill_diagonal(counts, 0.0)
    return counts


def _two_rates(right: Values, given: Labels, special: NDArray[np.bool_]) -> Values:
    """Return the most likely table with one rate for special pairs of classes, and one for others.

    Parameters
    ----------
    right : float64 `[rows, C]`
    given : int64 `[rows]`
    special : bool `[right classes, given classes]`
    """
    others = ~np.eye(len(special), dtype=bool)
    groups = special & others, ~special & others

    def after(counts: Values) -> Values:
        rows_of_class = counts.sum(axis=1)
        table = np.zeros_like(counts)
        for group in groups:
            exposed = float((group.sum(axis=1) * rows_of_class).sum())
            table[group] = max(SMALLEST_RATE, float(counts[group].sum()) / max(exposed, 1.0))
        np.fill_diagonal(table, np.maximum(1 - table.sum(axis=1), SMALLEST_RATE))
        return np.asarray(table / table.sum(axis=1, keepdims=True))

    return _fitted(right, given, after)[0]


def _fitted(
    right: Values, given: Labels, after: Callable[[Values], Values], rounds: int = ROUNDS
) -> tuple[Values, Values]:
    """Return the table that expectation maximization ends with, and its expected counts.

    Parameters
    ----------
    right : float64 `[rows, C]`
    given : int64 `[rows]`
    after : callable
        Makes the next table of expected counts, both float64 `[right classes, given classes]`.
    rounds : int
        At most.
    """
    classes = right.shape[1]
    table = 0.9 * ByClass.even(right, given).table + 0.1 * _even(STARTING_RATE, classes)
    members = [given == label for label in range(classes)]
    for _ in range(rounds):
        joint = right * table.T[given]
        joint /= joint.sum(axis=1, keepdims=True)
        counts = np.stack([joint[inside].sum(axis=0) for inside in members], axis=1)
        before, table = table, after(counts)
        if float(np.abs(table - before).max()) < CHANGE:
            break
    return table, counts


def _mistaken(right: Values, given: Labels, least: float) -> Values:
    """Return how probable each other class is as the right one, had the given one been drawn.

    Parameters
    ----------
    right : float64 `[rows, C]`
    given : int64 `[rows]`
    least : float
        Likeness of every class to every row.
    """
    looks = (right + least) / (1 + right.shape[1] * least)
    result = right * pick(looks, given)[:, None] / np.maximum(1 - looks, 1e-12)
    result[np.arange(len(given)), given] = 0.0
    return np.asarray(result)


def _unlike(right: Values, given: Labels) -> Values:
    """Return how probable each other class is as the right one, had an unlike class been drawn.

    Parameters
    ----------
    right : float64 `[rows, C]`
    given : int64 `[rows]`
    """
    weight = SOME_LIKENESS / (SOME_LIKENESS + right)
    others = weight.sum(axis=1, keepdims=True) - weight
    result = right * pick(weight, given)[:, None] / np.maximum(others, 1e-12)
    result[np.arange(len(given)), given] = 0.0
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

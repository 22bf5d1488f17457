"""What several annotators say together: the likeliest class of each row, and each one's quality.

Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm"
(Applied Statistics 1979): each annotator gives class l to rows of class t with a probability of
their own. What a model says of the row, where there is one, is the probability of t before anybody
labelled it (Raykar et al., "Learning from Crowds", JMLR 2010), and how far it is believed is fitted
with the rest. Annotators who gave few labels are drawn towards what all of them do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import gammaln

from dataaudit.labels.values import UNUSABLE

Values = NDArray[np.float64]

STEPS = 100
SETTLED = 1e-4
"""EM ends once no annotator's accuracy moves by more."""
ROWS_PER_BLOCK = 16_384
VALUES_PER_BLOCK = 2**20
"""Numbers of a table that are worked on at a time."""
USUAL = 0.7
"""Accuracy of an annotator before anything is known."""
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""What all annotators do counts, for each of them and each class, as much as so many of their own
labels: whichever makes all labels likeliest."""
FEW = 4.0
"""The usual accuracy counts, for each annotator, as much as so many labels of theirs."""
TINY = 1e-300
"""Logarithms are taken of nothing smaller."""
MOST_BELIEVED = 8.0
"""A model that underrates itself is believed more than it says, but no further than this."""
LARGEST_TABLE = 2**26
"""Annotators times classes squared, at most: two such tables are held, of eight bytes each."""


@dataclass(frozen=True)
class Votes:
    """Who gave which class to which row; one entry for each label that was given.

    Attributes
    ----------
    rows, annotators, labels : int64 `[votes]`
        Row positions ascending, places in `names`, class indices.
    names : sequence of str
        Of the annotators.
    sha256 : str
        Of the table that holds them, hex; empty where they stand beside the rows.
    """

    rows: NDArray[np.int64]
    annotators: NDArray[np.int64]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    sha256: str = ""

    def of(self, rows: slice) -> Votes:
        """Return the votes on consecutive rows, counted from the first of them."""
        low, high = np.searchsorted(self.rows, [rows.start, rows.stop])
        return self._chosen(slice(low, high), self.rows[low:high] - rows.start)

    def kept(self, lines: NDArray[np.int64]) -> Votes:
        """Return the votes on some rows, ascending, counted among these."""
        places = np.searchsorted(lines, self.rows)
        inside = places < len(lines)
        inside[inside] = lines[places[inside]] == self.rows[inside]
        return self._chosen(inside, places[inside])

    def _chosen(self, which: Any, rows: NDArray[np.int64]) -> Votes:
        return replace(
            self, rows=rows, annotators=self.annotators[which], labels=self.labels[which]
        )


Evidence = Callable[[slice], Values]
"""Takes consecutive rows and returns the log probability of each class, `[rows, classes]`, nats, by
a model that has not seen these labels; any constant may be added to a row."""


@dataclass(frozen=True)
class Consensus:
    """What annotators, and a model where there is one, say together.

    Attributes
    ----------
    labels : int64 `[rows]`
        The likeliest class.
    probability : float64 `[rows]`
        That it is right.
    odds : float64 `[rows]`
        Log odds that the class asked about is wrong, nats.
    other : int64 `[rows]`
        The likeliest class but for the one asked about.
    quality : float64 `[annotators]`
        Expected share of an annotator's labels that are right.
    believed : float
        Exponent on the model's probabilities: 0 not believed at all, 1 as they are.
    """

    labels: NDArray[np.int64]
    probability: Values
    odds: Values
    other: NDArray[np.int64]
    quality: Values
    believed: float


def agree(
    votes: Votes,
    rows: int,
    classes: int,
    evidence: Evidence | None = None,
    asked: NDArray[np.int64] | None = None,
) -> Consensus:
    """Return the consensus of some rows.

    Parameters
    ----------
    votes : Votes
    rows, classes : int
    evidence : callable or None
    asked : int64 `[rows]` or None
        The class whose odds are wanted; None: the likeliest.
    """
    count = len(votes.names)
    given = np.bincount(votes.labels, minlength=classes) + 1.0
    model = _Model(np.log(given / given.sum()), 0.0 if evidence is None else 1.0)
    accuracy = np.full(count, USUAL)
    log_confusion = np.empty((count, classes, classes))
    evenly = (1.0 - np.eye(classes)) / max(classes - 1, 1)
    for people, true in _pieces(log_confusion):
        log_confusion[people, true] = np.log(_one_coin(accuracy[people], evenly, true))
    for _ in range(STEPS):
        counts = np.zeros_like(log_confusion)
        fit = _Fit(model)
        for block, posterior, says in _blocks(votes, rows, evidence, model, log_confusion):
            # `[votes, t]`: by annotator and label given, the probability of each true class.
            by_label = counts.swapaxes(1, 2)
            for some in _parts(votes.of(block), classes):
                np.add.at(by_label, (some.annotators, some.labels), posterior[some.rows])
            fit.add(posterior, says)
        before, accuracy = accuracy, _quality(counts)
        log_confusion = _drawn_together(counts)
        model = fit.improved()
        if np.abs(accuracy - before).max(initial=0.0) < SETTLED:
            break
    labels, other = np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.int64)
    probability, odds = np.empty(rows), np.empty(rows)
    for block, posterior, _ in _blocks(votes, rows, evidence, model, log_confusion):
        lines = np.arange(len(posterior))
        labels[block] = best = posterior.argmax(axis=1)
        probability[block] = posterior[lines, best]
        wanted = best if asked is None else asked[block]
        right = posterior[lines, wanted]
        posterior[lines, wanted] = 0.0
        other[block] = posterior.argmax(axis=1)
        wrong = posterior.sum(axis=1)
        odds[block] = np.log(np.maximum(wrong, TINY)) - np.log(np.maximum(right, TINY))
    return Consensus(labels, probability, odds, other, accuracy, model.believed)


def majority(votes: Votes, rows: int, classes: int) -> NDArray[np.int64]:
    """Return the class that most annotators gave each row, `[rows]`; -1 where nobody gave one.

    Ties go to the class that `agree` finds likelier.
    """
    likeliest = agree(votes, rows, classes).labels
    result = np.full(rows, UNUSABLE)
    for block in _row_blocks(rows, classes):
        some = votes.of(block)
        given = np.zeros((block.stop - block.start, classes))
        np.add.at(given, (some.rows, some.labels), 1.0)
        given[np.arange(len(given)), likeliest[block]] += 0.5 * given.any(axis=1)
        result[block] = np.where(given.any(axis=1), given.argmax(axis=1), UNUSABLE)
    return result


def krippendorff_alpha(votes: Votes, classes: int, *, ordered: bool = False) -> float | None:
    """Return how far annotators agree, None where it cannot be told: 1 always, 0 as by chance.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), nominal or ordinal.

    Parameters
    ----------
    votes : Votes
    classes : int
    ordered : bool
        Whether labels that lie further apart disagree more.
    """
    rows, columns = int(votes.rows.max(initial=-1)) + 1, votes.labels
    table = sparse.csr_array((np.ones(len(columns)), (votes.rows, columns)), shape=(rows, classes))
    labels = table.sum(axis=1)
    weights = np.where(labels > 1, 1.0 / np.maximum(labels - 1, 1), 0.0)
    weighted = sparse.diags_array(weights) @ table
    pairs = (table.T @ weighted).toarray() - np.diag(np.asarray(weighted.sum(axis=0)))
    totals = pairs.sum(axis=0)
    distance = 1.0 - np.eye(classes)
    if ordered:
        middle = np.cumsum(totals) - totals / 2
        distance = (middle[:, None] - middle[None, :]) ** 2
    expected = float((np.outer(totals, totals) * distance).sum())
    if expected == 0:
        return None
    return 1.0 - float((pairs * distance).sum()) * (float(totals.sum()) - 1.0) / expected


@dataclass(frozen=True)
class _Model:
    """The probability of each class before anybody labelled the row, as logits.

    Attributes
    ----------
    offsets : float64 `[classes]`
        Nats; how common a class is, or how much commoner than the model says.
    believed : float
        As `Consensus` has it.
    """

    offsets: Values
    believed: float

    def logits(self, says: Values | None, rows: int) -> Values:
        base = np.tile(self.offsets, (rows, 1))
        return base if says is None else base + self.believed * says


class _Fit:
    """Gathers, block by block, how `_Model` has to change to say what the posterior says."""

    def __init__(self, model: _Model) -> None:
        self._model = model
        self._found = np.ones_like(model.offsets)
        self._said = np.ones_like(model.offsets)
        self._slope = self._curvature = 0.0

    def add(self, posterior: Values, says: Values | None) -> None:
        expected = _softmax(self._model.logits(says, len(posterior)))
        self._found += posterior.sum(axis=0)
        self._said += expected.sum(axis=0)
        if says is not None:
            mean = (expected * says).sum(axis=1)
            self._slope += float(((posterior - expected) * says).sum())
            self._curvature += float((expected * says**2).sum() - (mean**2).sum())

    def improved(self) -> _Model:
        """Return one Newton step on the exponent and one of iterative scaling on the offsets."""
        step = self._slope / self._curvature if self._curvature > 0 else 0.0
        return _Model(
            self._model.offsets + np.log(self._found / self._said),
            float(np.clip(self._model.believed + np.clip(step, -0.3, 0.3), 0.0, MOST_BELIEVED)),
        )


def _row_blocks(rows: int, classes: int) -> Iterator[slice]:
    """Yield consecutive rows, few where there are many classes."""
    step = max(1, min(ROWS_PER_BLOCK, VALUES_PER_BLOCK // classes))
    yield from (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _parts(votes: Votes, classes: int) -> Iterator[Votes]:
    """Yield the same votes, few at a time where there are many classes."""
    step = max(1, VALUES_PER_BLOCK // classes)
    for start in range(0, len(votes.rows), step):
        part = slice(start, start + step)
        yield votes._chosen(part, votes.rows[part])


def _pieces(table: Values) -> Iterator[tuple[slice, slice]]:
    """Yield which annotators, and which true classes, of a table `[annotators, t, l]`."""
    people, classes, _ = table.shape
    some = max(1, VALUES_PER_BLOCK // classes**2)
    true = max(1, VALUES_PER_BLOCK // classes)
    for first in range(0, people, some):
        for start in range(0, classes, true):
            yield slice(first, first + some), slice(start, start + true)


def _blocks(
    votes: Votes, rows: int, evidence: Evidence | None, model: _Model, log_confusion: Values
) -> Iterator[tuple[slice, Values, Values | None]]:
    """Yield the rows, their posterior `[rows, classes]` and what the model says, if anything."""
    classes = log_confusion.shape[1]
    for block in _row_blocks(rows, classes):
        says = None if evidence is None else evidence(block)
        logits = model.logits(says, block.stop - block.start)
        for some in _parts(votes.of(block), classes):
            np.add.at(logits, some.rows, log_confusion[some.annotators, :, some.labels])
        yield block, _softmax(logits), says


def _softmax(logits: Values) -> Values:
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def _one_coin(accuracy: Values, mistakes: Values, true: slice) -> Values:
    """Return confusions `[annotators, t, l]`: right with one probability whatever the class is.

    Parameters
    ----------
    accuracy : `[annotators]`
    mistakes : `[classes, l]`
        How wrong labels divide over the other classes; 0 on the diagonal, rows sum to 1.
    true : slice
        Which classes t.
    """
    right = np.eye(len(mistakes))[true]
    return accuracy[:, None, None] * right + (1 - accuracy)[:, None, None] * mistakes[true]


def _drawn_together(counts: Values) -> Values:
    """Return the logarithm of each annotator's confusion, drawn towards what is known of all.

    It takes the place of the counts, which are not held beside it.
    """
    classes = counts.shape[1]
    off = 1.0 - np.eye(classes)
    mistakes = (counts.sum(axis=0) + 1.0 / classes) * off
    mistakes /= np.maximum(mistakes.sum(axis=1, keepdims=True), TINY)
    quality = _quality(counts)
    likelihoods = np.zeros(len(STRENGTHS))
    for piece in _pieces(counts):
        base = _one_coin(quality[piece[0]], mistakes, piece[1])
        likelihoods += [_likelihood(counts[piece], tried * base) for tried in STRENGTHS]
    strength = STRENGTHS[int(likelihoods.argmax())]
    for piece in _pieces(counts):
        some = counts[piece]
        base = strength * _one_coin(quality[piece[0]], mistakes, piece[1])
        counts[piece] = np.log((some + base) / (some.sum(axis=2, keepdims=True) + strength))
    return counts


def _likelihood(counts: Values, drawn_to: Values) -> float:
    """Return the log likelihood of counts whose rates follow Dirichlet distributions, nats."""
    drawn = gammaln(counts + drawn_to).sum() - gammaln((counts + drawn_to).sum(axis=2)).sum()
    before = gammaln(drawn_to).sum() - gammaln(drawn_to.sum(axis=2)).sum()
    return float(drawn - before)


def _quality(counts: Values) -> Values:
    """Return the expected share of right labels of each annotator, strictly between 0 and 1."""
    right, all_labels = np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2))
    usual = (right.sum() + USUAL) / (all_labels.sum() + 1.0)
    return np.asarray((right + FEW * usual) / (all_labels + FEW))

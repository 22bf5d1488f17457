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
"""Annotators times classes squared, at most."""


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
    confusion = _one_coin(accuracy, (1.0 - np.eye(classes)) / (classes - 1))
    for _ in range(STEPS):
        counts = np.zeros_like(confusion)
        fit = _Fit(model)
        for block, posterior, says in _blocks(votes, rows, evidence, model, confusion):
            some = votes.of(block)
            # `[votes, t]`: by annotator and label given, the probability of each true class.
            by_label = counts.swapaxes(1, 2)
            np.add.at(by_label, (some.annotators, some.labels), posterior[some.rows])
            fit.add(posterior, says)
        confusion = _drawn_together(counts)
        model = fit.improved()
        before, accuracy = accuracy, _quality(counts)
        if np.abs(accuracy - before).max(initial=0.0) < SETTLED:
            break
    labels, other = np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.int64)
    probability, odds = np.empty(rows), np.empty(rows)
    for block, posterior, _ in _blocks(votes, rows, evidence, model, confusion):
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
    for start in range(0, rows, ROWS_PER_BLOCK):
        block = slice(start, min(start + ROWS_PER_BLOCK, rows))
        some = votes.of(block)
        given = np.zeros((block.stop - start, classes))
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


def _blocks(
    votes: Votes, rows: int, evidence: Evidence | None, model: _Model, confusion: Values
) -> Iterator[tuple[slice, Values, Values | None]]:
    """Yield the rows, their posterior `[rows, classes]` and what the model says, if anything."""
    log_confusion = np.log(confusion)
    for start in range(0, rows, ROWS_PER_BLOCK):
        block = slice(start, min(start + ROWS_PER_BLOCK, rows))
        says = None if evidence is None else evidence(block)
        logits = model.logits(says, block.stop - start)
        some = votes.of(block)
        np.add.at(logits, some.rows, log_confusion[some.annotators, :, some.labels])
        yield block, _softmax(logits), says


def _softmax(logits: Values) -> Values:
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def _one_coin(accuracy: Values, mistakes: Values) -> Values:
    """Return confusions `[annotators, t, l]`: right with one probability whatever the class is.

    Parameters
    ----------
    accuracy : `[annotators]`
    mistakes : `[t, l]`
        How wrong labels divide over the other classes; 0 on the diagonal, rows sum to 1.
    """
    classes = len(mistakes)
    right = np.eye(classes)
    return accuracy[:, None, None] * right + (1 - accuracy)[:, None, None] * mistakes


def _drawn_together(counts: Values) -> Values:
    """Return each annotator's confusion, drawn towards what is known of all of them."""
    classes = counts.shape[1]
    off = 1.0 - np.eye(classes)
    mistakes = (counts.sum(axis=0) + 1.0 / classes) * off
    mistakes /= mistakes.sum(axis=1, keepdims=True)
    base = _one_coin(_quality(counts), mistakes)
    strength = max(STRENGTHS, key=lambda tried: _likelihood(counts, tried * base))
    return np.asarray((counts + strength * base) / (counts.sum(axis=2, keepdims=True) + strength))


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

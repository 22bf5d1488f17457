"""Evidence against given labels: what two models say, weighed on samples whose answer is known.

References are trusted samples that were learned like training rows, some of them under a wrong
label on purpose (`dataaudit.mirror.references`). What the models say about the right and the
wrong ones shows how far each model can be trusted on these data, memorized or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from dataaudit.flags.probabilities import Labels, Table, Values, pick, row_blocks

TRUSTED_ERRORS = 0.01
"""Trusted samples have errors of their own, in well-known test sets .5 to 6 % (Northcutt, Athalye
and Mueller, NeurIPS Datasets 2021). A few of them flatten the evidence just where flags are
decided, so the references that most look the other way are left out."""
INVERSE_RIDGE = 10.0
"""On standardized signals."""
DISCOUNT = 0.5
"""On the model before it learned again. References are learned late and briefly, so a model that
has memorized its rows looks surer of itself on them than it is on the rows. A model that learned
both together needs none."""
PLANTED_ENOUGH = 100
"""With fewer planted labels the discount grows in proportion, for what they say of a memorized
model is a matter of chance: with 12 of them half the weight cost up to .08 average precision. So
discounted, no signal costs more than .002 (docs/mislabels.md)."""
EXPECTATION_STEPS = 200
LARGEST_RATIO = 30
MOST_BINS = 2**17
"""Of log ratios, 4.7e-4 nats wide each."""
SMALLEST_RATE = 1e-7


@dataclass(frozen=True)
class Evidence:
    """A logistic model that tells planted labels from right ones.

    Attributes
    ----------
    center, scale : `[signals]`
        Of the references' signals.
    weights : `[signals]`
        Of the standardized signals, none negative.
    intercept : float
        For equally many planted and right references.
    """

    center: Values
    scale: Values
    weights: Values
    intercept: float

    def log_ratios(self, signals: Values) -> Values:
        """Return the log likelihood ratio "wrong : right" of each row, `[rows]`, nats.

        Parameters
        ----------
        signals : `[rows, signals]`
            As those that the evidence was fitted on.
        """
        ratios = np.empty(len(signals))
        for rows in row_blocks(len(signals)):
            standardized = (signals[rows] - self.center) / self.scale
            ratios[rows] = standardized @ self.weights + self.intercept
        return ratios


def label_signals(tables: Sequence[Table], given: Labels) -> Values:
    """Return how much speaks against each given label, `[rows, tables]`, nats, higher = more so.

    The log ratio of the other classes' probabilities, as the length of their vector, to the given
    label's. For two classes these are the log odds. For more, one strong alternative counts more
    than many weak ones with the same sum, as people take one class for another: on CIFAR-10N that
    is .002 to .012 average precision better than log odds in 18 of 18 runs (docs/mislabels.md).

    Parameters
    ----------
    tables : sequence of `[rows, C]`
        Probabilities, none of them 0.
    given : int64 `[rows]`
    """
    return np.stack([suspicion(table, given) for table in tables], axis=1)


def suspicion(table: Table, given: Labels) -> Values:
    """Return how much one table speaks against each given label; see `label_signals`."""
    others = table.copy()
    others[np.arange(len(given)), given] = 0.0
    return np.asarray(np.log(np.linalg.norm(others, axis=1)) - np.log(pick(table, given)))


def fit_evidence(
    signals: Values,
    planted: NDArray[np.bool_],
    discount: float | None = 1.0,
    trusted_errors: float = TRUSTED_ERRORS,
) -> Evidence:
    """Fit a ridge logistic model on the references.

    A signal whose weight comes out negative is left out: more suspicion must never make a label
    look better.

    Parameters
    ----------
    signals : `[references, signals]`
        The last column is the mirrored model's, which has forgotten the labels most.
    planted : bool `[references]`
    discount : float or None
        On the weight of the first of several signals, of what knows the labels; None:
        `discount_of` these references.
    trusted_errors : float
        Share of the references of either kind that are left out, those that look most the other
        way.
    """
    center, scale = signals.mean(axis=0), signals.std(axis=0) + 1e-9
    chosen = _typical(signals[:, -1], planted, trusted_errors)
    standardized, wrong = ((signals - center) / scale)[chosen], planted[chosen]
    used = np.arange(signals.shape[1])
    while True:
        model = LogisticRegression(C=INVERSE_RIDGE).fit(standardized[:, used], wrong)
        found = model.coef_[0]
        if len(used) == 1 or not (found < 0).any():
            break
        used = np.delete(used, found.argmin())
    weights = np.zeros(signals.shape[1])
    weights[used] = np.maximum(found, 0)
    if len(weights) > 1:
        weights[0] *= discount_of(planted) if discount is None else discount
    prior = np.log(wrong.sum() / (~wrong).sum())
    return Evidence(center, scale, weights, float(model.intercept_[0] - prior))


def discount_of(planted: NDArray[np.bool_]) -> float:
    """Return the share of its weight that the model before it learned again keeps, 0 to 1.

    Parameters
    ----------
    planted : bool `[references]`
    """
    return DISCOUNT * min(1.0, float(planted.sum()) / PLANTED_ENOUGH)


def fit_error_rate(log_ratios: Values) -> float:
    """Return the share of wrong labels among rows with these log likelihood ratios, `[rows]`.

    Expectation maximization for shifted priors (Saerens, Latinne and Decaestecker, Neural
    Computation 2002). One rate for all classes: a rate for each cannot be told from a class being
    hard, and ranks rows worse (docs/mislabels.md).
    """
    values, counts = _binned(np.clip(log_ratios, -LARGEST_RATIO, LARGEST_RATIO))
    rate, likelihood, shares = 0.1, np.exp(values), counts / counts.sum()
    for _ in range(EXPECTATION_STEPS):
        wrong = likelihood * rate
        mean = float((wrong / (wrong + 1 - rate)) @ shares)
        rate = min(max(mean, SMALLEST_RATE), 1 - SMALLEST_RATE)
    return rate


def _binned(ratios: Values) -> tuple[Values, Values]:
    """Return ratios and how often each occurs; many are put into narrow bins, by their mean."""
    if len(ratios) <= MOST_BINS:
        return ratios, np.ones(len(ratios))
    place = np.empty(len(ratios), dtype=np.int32)
    for rows in row_blocks(len(ratios)):
        place[rows] = (ratios[rows] + LARGEST_RATIO) * (MOST_BINS / (2 * LARGEST_RATIO + 1))
    counts = np.bincount(place, minlength=MOST_BINS)
    held = counts > 0
    means = np.bincount(place, ratios, MOST_BINS)[held] / counts[held]
    return means, counts[held].astype(np.float64)


def _typical(looks_wrong: Values, planted: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Leave out the right references that look most wrong and the planted that look most right."""
    highest = np.quantile(looks_wrong[~planted], 1 - share)
    lowest = np.quantile(looks_wrong[planted], share)
    typical = np.where(planted, looks_wrong >= lowest, looks_wrong <= highest)
    return np.asarray(typical, dtype=bool)

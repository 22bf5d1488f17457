"""Probes: linear classifiers on what a model saw before it was trained, none on its own rows.

Each sample is judged by probes that were fitted without it, so rows and trusted samples are seen
alike. Probes are multinomial logistic regressions with a ridge, on standardized features. Rows are
learned twice: under their given labels, and then under what these probes make of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from dataaudit.flags.probabilities import Labels, Table, Values, pick, row_blocks, softmax
from dataaudit.storage.on_disk import Growing, large_arrays_in

FOLDS, TRUSTED_FOLDS = 5, 10
"""Of rows and trusted samples, and of trusted samples alone, which are few."""
RIDGES = (300.0, 100.0, 30.0, 10.0)
"""Of which that is taken under which left out trusted samples are likeliest."""
DOUBTS = (0.15, 0.3, 0.6)
"""Shares of wrong labels that the second round may assume; again the trusted samples choose."""
MOST_FITTED = 50_000
"""Rows that a probe learns from; a linear classifier has little use for more."""
STEPS = 60
WEIGHT_RIDGE = 1.0
"""In trusted samples, towards equal weights of both kinds of probes."""

Inputs = NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """What probes say of samples that they were fitted without, `[rows, C]` and `[trusted, C]`.

    Attributes
    ----------
    rows, trusted
    alone : Judged or None
        The same of the probes that were fitted to trusted samples alone.
    """

    rows: Table
    trusted: Table
    alone: Judged | None = None


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of each feature, `[width]`."""

    mean: Values
    deviation: Values

    @classmethod
    def of(cls, parts: Sequence[Table]) -> Scale:
        """Return those of all samples of the parts, each `[n, width]`, read block by block."""
        count, first, second = 0, 0.0, 0.0
        for part in parts:
            for rows in row_blocks(*part.shape):
                block = np.asarray(part[rows], dtype=np.float64)
                count += len(block)
                first, second = first + block.sum(axis=0), second + np.square(block).sum(axis=0)
        mean = np.asarray(first / count)
        return cls(mean, np.sqrt(np.maximum(second / count - mean**2, 0)) + 1e-9)

    def applied(self, features: Table) -> Inputs:
        """Return standardized features with a column of ones, `[n, width + 1]`."""
        found = (np.asarray(features, dtype=np.float64) - self.mean) / self.deviation
        return np.concatenate([found, np.ones((len(found), 1))], axis=1).astype(np.float32)


def fitted(inputs: Inputs, targets: Inputs, ridge: float, start: Any = None) -> Values:
    """Return the weights of a logistic regression, `[width + 1, C]`; the last line has no ridge.

    Parameters
    ----------
    inputs : float32 `[n, width + 1]`
        With a column of ones at the end.
    targets : float32 `[n, C]`
        The probability of each class; rows sum to 1.
    ridge : float
        Of half the sum of squared weights, in nats; the losses are summed, not averaged.
    start : `[width + 1, C]` or None
        Weights to start from.
    """
    shape = (inputs.shape[1], targets.shape[1])
    penalty = np.full((shape[0], 1), ridge)
    penalty[-1] = 0.0
    # Class by class: sums over a short last axis would take most of the time.
    across, wanted = np.ascontiguousarray(inputs.T), np.ascontiguousarray(targets.T)

    def loss(flat: Values) -> tuple[float, Values]:
        weights = flat.reshape(shape)
        logits = weights.T.astype(np.float32) @ across
        logits -= logits.max(axis=0)
        found = np.exp(logits)
        total = found.sum(axis=0)
        value = float(np.log(total, dtype=np.float64).sum() - np.vdot(wanted, logits))
        slopes = (across @ (found / total - wanted).T).astype(np.float64) + penalty * weights
        return value + float((penalty * weights**2).sum()) / 2, slopes.ravel()

    begin = np.zeros(shape) if start is None else start
    found = minimize(loss, begin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return np.asarray(found.x).reshape(shape)


def one_hot(labels: Labels, classes: int) -> Inputs:
    """Return class indices `[n]` as targets, `[n, C]`."""
    result = np.zeros((len(labels), classes), dtype=np.float32)
    result[np.arange(len(labels)), labels] = 1.0
    return result


def probe(
    features: Table,
    given: Labels,
    trusted: Table,
    right: Labels,
    classes: int,
    folder: Path,
    seed: int = 0,
) -> Judged:
    """Fit probes to rows and trusted samples, and to the latter alone, and join what they say.

    The first know more samples, the second no wrong label. How far each is believed is fitted to
    the trusted samples, of which neither knows those that it judges.

    Parameters
    ----------
    features : `[rows, width]`
        Read a block at a time.
    given : int64 `[rows]`
    trusted : `[trusted, width]`
    right : int64 `[trusted]`
    classes : int
    folder : Path
        For what is said of the rows: files without a name.
    seed : int
        Of the folds.
    """
    generator = np.random.default_rng(seed)
    # Whatever the labels are: a row's own must have no part in what is said of it.
    row_folds, trusted_folds = (
        generator.permutation(len(labels)) % FOLDS for labels in (given, right)
    )
    scale = Scale.of([features, trusted])
    known = scale.applied(trusted)
    alone, said_alone = _alone(known, right, classes, generator)
    rounds = _Rounds(features, given, row_folds, known, right, trusted_folds, scale, generator)
    both = rounds.best(classes, alone, said_alone)
    logs = np.stack([_of_fold(known, trusted_folds, both), said_alone])
    weights = _believed(logs, right)
    of_both, of_alone = Growing(), Growing()
    with large_arrays_in(folder):
        for rows in row_blocks(*features.shape):
            inputs = scale.applied(features[rows])
            logs_of_rows = [_of_fold(inputs, row_folds[rows], both), _logs(inputs, alone)]
            said = softmax(np.tensordot(weights, np.stack(logs_of_rows), 1))
            of_both.add(said.astype(np.float32))
            of_alone.add(np.exp(logs_of_rows[1]).astype(np.float32))
    return Judged(
        of_both.finished(),
        softmax(np.tensordot(weights, logs, 1)),
        Judged(of_alone.finished(), np.exp(said_alone)),
    )


@dataclass(frozen=True)
class _Rounds:
    """Fits probes to rows and trusted samples, one without each fold."""

    features: Table
    given: Labels
    row_folds: Labels
    known: Inputs
    right: Labels
    trusted_folds: Labels
    scale: Scale
    generator: np.random.Generator

    @cached_property
    def _learned(self) -> list[Labels]:
        """The rows outside each fold, or as many of them as a probe needs."""
        result = []
        for fold in range(FOLDS):
            rows = np.flatnonzero(self.row_folds != fold)
            if len(rows) > MOST_FITTED:
                rows = np.sort(self.generator.choice(rows, MOST_FITTED, replace=False))
            result.append(rows)
        return result

    def best(self, classes: int, alone: Values, said_alone: Values) -> list[Values]:
        """Return the probes under which left out trusted samples are likeliest.

        Parameters
        ----------
        classes : int
        alone : `[width + 1, C]`
            The probe of trusted samples alone.
        said_alone : `[trusted, C]`
            What such probes say of left out ones, log probabilities.
        """

        def likelihood(probes: Sequence[Values]) -> float:
            said = _of_fold(self.known, self.trusted_folds, probes)
            return float(pick(said, self.right).sum())

        found, start = [], alone
        for ridge in RIDGES:
            first = self.first(classes, ridge, start)
            start = first[0]
            found.append((likelihood(first), ridge, first))
        _, ridge, first = max(found, key=lambda each: each[0])
        logs = np.stack([_of_fold(self.known, self.trusted_folds, first), said_alone])
        weights = _believed(logs, self.right)
        second = [self.second((first, alone, weights), ridge, doubt) for doubt in DOUBTS]
        return max([first, *second], key=likelihood)

    def first(self, classes: int, ridge: float, start: Values) -> list[Values]:
        """Learn rows under their given labels."""
        probes = [start]
        for fold in range(FOLDS):
            targets = one_hot(self.given[self._learned[fold]], classes)
            probes.append(self._fitted(fold, targets, ridge, probes[-1]))
        return probes[1:]

    def second(
        self, known: tuple[Sequence[Values], Values, Values], ridge: float, doubt: float
    ) -> list[Values]:
        """Learn rows under what probes that were fitted without them make of their labels.

        Of `known`, the probes of the first round, the one of trusted samples alone, and the weights
        of both.

        The given class keeps its probability, all others theirs times what a wrong label has left.
        """
        (first, alone, weights), probes = known, []
        for fold, rows in enumerate(self._learned):
            inputs, labels = self.scale.applied(self.features[rows]), self.given[rows]
            logs = [_of_fold(inputs, self.row_folds[rows], first), _logs(inputs, alone)]
            said = softmax(np.tensordot(weights, np.stack(logs), 1))
            own = np.arange(len(rows)), labels
            kept = said[own] * (1 - doubt)
            said *= doubt / (said.shape[1] - 1)
            said[own] = kept
            targets = (said / said.sum(axis=1, keepdims=True)).astype(np.float32)
            probes.append(self._fitted(fold, targets, ridge, first[fold], inputs))
        return probes

    def _fitted(
        self,
        fold: int,
        targets: Inputs,
        ridge: float,
        start: Values,
        inputs: Inputs | None = None,
    ) -> Values:
        if inputs is None:
            inputs = self.scale.applied(self.features[self._learned[fold]])
        others = self.trusted_folds != fold
        right = one_hot(self.right[others], targets.shape[1])
        return fitted(
            np.concatenate([inputs, self.known[others]]),
            np.concatenate([targets, right]),
            ridge,
            start,
        )


def _alone(
    known: Inputs, right: Labels, classes: int, generator: np.random.Generator
) -> tuple[Values, Values]:
    """Fit a probe to trusted samples alone.

    Returns
    -------
    its weights; and what probes of the other folds say of each, `[trusted, C]`, logs
    """
    folds = generator.permutation(len(right)) % TRUSTED_FOLDS
    targets = one_hot(right, classes)
    probes: list[Any] = [None] * TRUSTED_FOLDS
    best: tuple[float, float, Values] | None = None
    for ridge in RIDGES:
        probes = [
            fitted(known[folds != fold], targets[folds != fold], ridge, probes[fold])
            for fold in range(TRUSTED_FOLDS)
        ]
        said = _of_fold(known, folds, probes)
        likelihood = float(pick(said, right).sum())
        if best is None or likelihood > best[0]:
            best = likelihood, ridge, said
    assert best is not None
    return fitted(known, targets, best[1]), best[2]


def _believed(logs: Values, right: Labels) -> Values:
    """Return the weight of each kind of probe's log probabilities, at which the truth is likeliest.

    Parameters
    ----------
    logs : `[kinds, trusted, C]`
    right : int64 `[trusted]`
    """
    even = 1 / len(logs)

    def loss(weights: Values) -> tuple[float, Values]:
        found = softmax(np.tensordot(weights, logs, 1))
        off = found.copy()
        off[np.arange(len(right)), right] -= 1.0
        value = WEIGHT_RIDGE / 2 * ((weights - even) ** 2).sum() - np.log(pick(found, right)).sum()
        return float(value), np.tensordot(logs, off, 2) + WEIGHT_RIDGE * (weights - even)

    start, bounds = np.full(len(logs), even), [(0, None)] * len(logs)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)


def _of_fold(inputs: Inputs, folds: Labels, probes: Sequence[Values]) -> Values:
    """Return what the probe of each sample's fold says, log probabilities `[n, C]`."""
    found = np.zeros((len(inputs), probes[0].shape[1]))
    for fold, weights in enumerate(probes):
        found[folds == fold] = _logs(inputs[folds == fold], weights)
    return found


def _logs(inputs: Inputs, weights: Values) -> Values:
    return np.asarray(np.log(softmax(inputs.astype(np.float64) @ weights)))

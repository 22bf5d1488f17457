"""Probes: linear classifiers on what a model saw before it was trained, none on its own rows.

Each sample is judged by probes that were fitted without it, so rows and trusted samples are seen
alike. A probe is a linear discriminant: normal classes with one covariance (Fisher 1936; robust
to wrong labels on learned features: Lee et al., "Robust inference via generative classifiers for
handling noisy labels", ICML 2019). It needs sums of products only: the features are read once for
them, and what a fold left out is subtracted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from dataaudit.flags.probabilities import Labels, Table, Values, pick, row_blocks, softmax

FOLDS = 5
SHRINKAGES = (0.01, 0.03, 0.1, 0.3)
"""Shares of the identity in the covariance (Ledoit and Wolf 2004); the trusted samples choose."""
RIDGE = 1.0
"""In trusted samples, towards equal weights of both kinds of probes."""


@dataclass(frozen=True)
class Sums:
    """Sums over some samples, from which any discriminant of them is made.

    Attributes
    ----------
    counts : float64 `[C]`
    firsts : float64 `[C, width]`
        Sums of the features of each class.
    seconds : float64 `[width, width]`
        Sum of the outer products of all features.
    """

    counts: Values
    firsts: Values
    seconds: Values

    @classmethod
    def none(cls, classes: int, width: int) -> Sums:
        """Return the sums over no sample."""
        return cls(np.zeros(classes), np.zeros((classes, width)), np.zeros((width, width)))

    @classmethod
    def of(cls, features: Values, labels: Labels, classes: int) -> Sums:
        """Return the sums over samples `[n, width]` with class indices `[n]`."""
        members = np.zeros((len(labels), classes))
        members[np.arange(len(labels)), labels] = 1.0
        return cls(members.sum(axis=0), members.T @ features, features.T @ features)

    def __add__(self, other: Sums) -> Sums:
        """Return the sums over the samples of both."""
        return Sums(
            self.counts + other.counts, self.firsts + other.firsts, self.seconds + other.seconds
        )

    def __sub__(self, other: Sums) -> Sums:
        """Return the sums without some of the samples."""
        return Sums(
            self.counts - other.counts, self.firsts - other.firsts, self.seconds - other.seconds
        )


@dataclass(frozen=True)
class Discriminant:
    """A linear discriminant: `weights` `[width, C]` and `offsets` `[C]`."""

    weights: Values
    offsets: Values

    @classmethod
    def fit(cls, sums: Sums, shrinkage: float) -> Discriminant:
        """Fit it. Features count for what they vary: each is scaled to unit variance."""
        total = sums.counts.sum()
        # One more sample of every class, at the mean of all: a class may have none.
        mean = sums.firsts.sum(axis=0) / total
        counts = sums.counts + 1.0
        means = (sums.firsts + mean) / counts[:, None]
        spread = sums.seconds / total - np.outer(mean, mean)
        scale = np.sqrt(np.maximum(np.diag(spread), 0)) + 1e-6 * np.sqrt(np.trace(spread)) + 1e-12
        between = (means - mean) / scale
        within = spread / np.outer(scale, scale) - (between.T * (sums.counts / total)) @ between
        size = np.trace(within) / len(within)
        within = (1 - shrinkage) * within + shrinkage * size * np.eye(len(within))
        directions = np.linalg.solve(within, between.T)
        weights = directions / scale[:, None]
        offsets = -0.5 * (between.T * directions).sum(axis=0) + np.log(counts / counts.sum())
        return cls(weights, offsets - mean @ weights)

    def probabilities(self, features: Values) -> Values:
        """Return `[n, C]` for features `[n, width]`."""
        return softmax(features @ self.weights + self.offsets)


@dataclass(frozen=True)
class Judged:
    """What probes say of samples that they were fitted without, `[rows, C]` and `[trusted, C]`."""

    rows: Table
    trusted: Table


def probe(
    features: Table,
    given: Labels,
    trusted: Table,
    right: Labels,
    classes: int,
    folder: Path,
    seed: int = 0,
) -> Judged:
    """Fit probes crosswise, to rows and trusted samples and to the latter alone, and join them.

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
        For what is said of the rows: a file without a name.
    seed : int
        Of the folds.
    """
    generator = np.random.default_rng(seed)
    # Whatever the labels are: a row's own must have no part in what is said of it.
    row_folds, trusted_folds = (
        generator.permutation(len(labels)) % FOLDS for labels in (given, right)
    )
    known = np.asarray(trusted, dtype=np.float64)
    of_trusted = _sums_by_fold(known, right, trusted_folds, classes)
    of_rows = [Sums.none(classes, known.shape[1])] * FOLDS
    for rows in row_blocks(len(given)):
        parts = _sums_by_fold(_block(features, rows), given[rows], row_folds[rows], classes)
        of_rows = list(map(Sums.__add__, of_rows, parts))
    joined = list(map(Sums.__add__, of_rows, of_trusted))
    kinds = [
        _chosen(_without_each(parts), known, right, trusted_folds) for parts in (joined, of_trusted)
    ]
    weights = _believed([said for _, said in kinds], right)
    by_fold = list(zip(*(probes for probes, _ in kinds), strict=True))
    said = _said_of(known, trusted_folds, by_fold, weights)
    with tempfile.TemporaryFile(dir=folder) as file:
        for rows in row_blocks(len(given)):
            found = _said_of(_block(features, rows), row_folds[rows], by_fold, weights)
            file.write(found.astype(np.float32).data)
        file.flush()
        return Judged(np.memmap(file, dtype=np.float32, mode="r").reshape(-1, classes), said)


def _sums_by_fold(features: Values, labels: Labels, folds: Labels, classes: int) -> list[Sums]:
    return [
        Sums.of(features[folds == fold], labels[folds == fold], classes) for fold in range(FOLDS)
    ]


def _without_each(parts: Sequence[Sums]) -> list[Sums]:
    """Return the sums over all folds but one, for each."""
    total = sum_of(parts)
    return [total - part for part in parts]


def sum_of(parts: Sequence[Sums]) -> Sums:
    """Return the sums over the samples of all parts."""
    return reduce(Sums.__add__, parts)


def _chosen(
    sums: Sequence[Sums], trusted: Values, right: Labels, folds: Labels
) -> tuple[list[Discriminant], Values]:
    """Return each fold's probe, and what they say of the trusted samples, `[trusted, C]`."""
    best: tuple[float, list[Discriminant], Values] | None = None
    for shrinkage in SHRINKAGES:
        probes = [Discriminant.fit(part, shrinkage) for part in sums]
        said = _said_of(trusted, folds, [(fitted,) for fitted in probes], np.ones(1))
        likelihood = float(np.log(pick(said, right)).sum())
        if best is None or likelihood > best[0]:
            best = likelihood, probes, said
    assert best is not None
    return best[1], best[2]


def _believed(tables: Sequence[Values], right: Labels) -> Values:
    """Return the weight of each kind of probe's log probabilities, at which the truth is likeliest.

    Parameters
    ----------
    tables : sequence of `[trusted, C]`
    right : int64 `[trusted]`
    """
    logs = np.log(np.stack(tables))
    even = 1 / len(tables)

    def loss(weights: Values) -> tuple[float, Values]:
        found = softmax(np.tensordot(weights, logs, 1))
        off = found.copy()
        off[np.arange(len(right)), right] -= 1.0
        value = RIDGE / 2 * ((weights - even) ** 2).sum() - np.log(pick(found, right)).sum()
        return float(value), np.tensordot(logs, off, 2) + RIDGE * (weights - even)

    start, bounds = np.full(len(tables), even), [(0, None)] * len(tables)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)


def _said_of(
    features: Values,
    folds: Labels,
    probes: Sequence[Sequence[Discriminant]],
    weights: Values,
) -> Values:
    """Return what the probes of each sample's fold say together, `[n, C]`."""
    said = np.zeros((len(features), len(probes[0][0].offsets)))
    for fold, kinds in enumerate(probes):
        inside = features[folds == fold]
        logs = [np.log(fitted.probabilities(inside)) for fitted in kinds]
        said[folds == fold] = softmax(np.tensordot(weights, np.stack(logs), 1))
    return said


def _block(features: Table, rows: slice) -> Values:
    return np.asarray(features[rows], dtype=np.float64)

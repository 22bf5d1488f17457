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
from pathlib import Path

import numpy as np

from dataaudit.flags.probabilities import Labels, Table, Values, pick, row_blocks, softmax

FOLDS = 5
SHRINKAGES = (0.01, 0.03, 0.1, 0.3)
"""Shares of the identity in the covariance (Ledoit and Wolf 2004); the trusted samples choose."""


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
) -> tuple[Judged, Judged]:
    """Fit probes to rows and trusted samples, and to trusted samples alone, crosswise.

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

    Returns
    -------
    of both, and of trusted samples alone
    """
    generator = np.random.default_rng(seed)
    # Whatever the labels are: a row's own must have no part in what is said of it.
    row_folds, trusted_folds = (
        generator.permutation(len(labels)) % FOLDS for labels in (given, right)
    )
    known = np.asarray(trusted, dtype=np.float64)
    of_trusted = [
        Sums.of(known[trusted_folds == fold], right[trusted_folds == fold], classes)
        for fold in range(FOLDS)
    ]
    of_rows: list[Sums] | None = None
    for rows in row_blocks(len(given)):
        block, labels, folds = _block(features, rows), given[rows], row_folds[rows]
        found = [Sums.of(block[folds == f], labels[folds == f], classes) for f in range(FOLDS)]
        of_rows = found if of_rows is None else list(map(Sums.__add__, of_rows, found))
    assert of_rows is not None
    alone, both = sum_of(of_trusted), sum_of([*of_rows, *of_trusted])
    learned = [
        [both - of_rows[fold] - of_trusted[fold] for fold in range(FOLDS)],
        [alone - of_trusted[fold] for fold in range(FOLDS)],
    ]
    judged = []
    for sums in learned:
        probes, said = _chosen(sums, known, right, trusted_folds)
        judged.append(Judged(_said(features, row_folds, probes, folder), said))
    return judged[0], judged[1]


def sum_of(parts: Sequence[Sums]) -> Sums:
    """Return the sums over the samples of all parts."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _chosen(
    sums: Sequence[Sums], trusted: Values, right: Labels, folds: Labels
) -> tuple[list[Discriminant], Values]:
    """Return each fold's probe, and what they say of the trusted samples, `[trusted, C]`."""
    best: tuple[float, list[Discriminant], Values] | None = None
    for shrinkage in SHRINKAGES:
        probes = [Discriminant.fit(part, shrinkage) for part in sums]
        said = np.zeros((len(right), len(sums[0].counts)))
        for fold, fitted in enumerate(probes):
            said[folds == fold] = fitted.probabilities(trusted[folds == fold])
        likelihood = float(np.log(pick(said, right)).sum())
        if best is None or likelihood > best[0]:
            best = likelihood, probes, said
    assert best is not None
    return best[1], best[2]


def _said(features: Table, folds: Labels, probes: Sequence[Discriminant], folder: Path) -> Table:
    with tempfile.TemporaryFile(dir=folder) as file:
        for rows in row_blocks(len(folds)):
            block, of_block = _block(features, rows), folds[rows]
            said = np.zeros((len(block), len(probes[0].offsets)), dtype=np.float32)
            for fold, fitted in enumerate(probes):
                said[of_block == fold] = fitted.probabilities(block[of_block == fold])
            file.write(said.data)
        file.flush()
        return np.memmap(file, dtype=np.float32, mode="r").reshape(-1, said.shape[1])


def _block(features: Table, rows: slice) -> Values:
    return np.asarray(features[rows], dtype=np.float64)

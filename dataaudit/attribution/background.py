"""The background of each row: how it reacts to queries that it has nothing to do with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SPREAD_FLOOR = 0.1
"""No row's spread counts for less than this share of the typical row's: a row that hardly moves
would otherwise seem to react to everything."""


@dataclass
class RunningBackground:
    """Mean and spread of each row's changes over queries that come a few at a time.

    T. Chan, G. Golub and R. LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances" (1979). Memory: three numbers a row, however many queries.
    """

    count: FloatArray
    mean: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, rows: int) -> RunningBackground:
        """Return the background of `rows` rows before any query."""
        return cls(np.zeros(rows), np.zeros(rows), np.zeros(rows))

    def add(self, positions: NDArray[np.int64], changes: FloatArray) -> None:
        """Take in the changes of some rows, `[rows, queries]`; NaN is left out."""
        known = np.isfinite(changes)
        count = known.sum(axis=1)
        total = np.where(known, changes, 0.0).sum(axis=1)
        mean = total / np.maximum(count, 1)
        squares = (np.where(known, changes - mean[:, None], 0.0) ** 2).sum(axis=1)
        before = self.count[positions]
        both = np.maximum(before + count, 1)
        difference = mean - self.mean[positions]
        self.mean[positions] += difference * count / both
        self.squares[positions] += squares + difference**2 * before * count / both
        self.count[positions] = before + count

    def spread(self) -> FloatArray:
        """Return the standard deviation of each row's changes, `[rows]`, floored."""
        deviation = np.sqrt(self.squares / np.maximum(self.count - 1, 1))
        return np.asarray(deviation + SPREAD_FLOOR * np.median(deviation) + 1e-12)

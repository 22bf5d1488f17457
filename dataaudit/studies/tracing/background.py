"""The background of each row: how it reacts to queries that it has nothing to do with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SPREAD_FLOOR = 1.0
"""What is added to each row's spread, as a multiple of the typical row's. Without it a row that
hardly ever moves would seem to react to everything (tried: docs/measurements/tracing.md)."""


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

    def floor(self) -> float:
        """Return what is added to each row's standard deviation."""
        deviation = np.sqrt(self.squares / np.maximum(self.count - 1, 1))
        return float(SPREAD_FLOOR * np.median(deviation) + 1e-12)

    def unusual(
        self, positions: NDArray[np.int64], changes: FloatArray, inside: NDArray[np.bool_]
    ) -> FloatArray:
        """Return how many deviations changes are above their row's background.

        Parameters
        ----------
        positions : `[rows]`
        changes : `[rows, queries]`
        inside : bool `[queries]`
            Which queries are part of the background; a query is compared with the others only.
        """
        count = self.count[positions, None]
        mean, squares = self.mean[positions, None], self.squares[positions, None]
        known = inside & np.isfinite(changes)
        rest = np.where(known, count - 1, count)
        away = np.where(known, changes - mean, 0.0)
        safe = np.maximum(rest, 1)
        mean = mean - away / safe
        squares = np.maximum(squares - away**2 * count / safe, 0.0)
        deviation = np.sqrt(squares / np.maximum(rest - 1, 1))
        return np.asarray((changes - mean) / (deviation + self.floor()))

"""The best rows of each query, kept while rows stream by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


@dataclass
class TopRows:
    """The rows with the highest scores of each query, best first.

    Attributes
    ----------
    positions : int64 `[queries, kept]`
        -1 where fewer rows were seen.
    scores, changes : float64 `[queries, kept]`
        -inf and NaN there.
    """

    positions: IndexArray
    scores: FloatArray
    changes: FloatArray

    @classmethod
    def of(cls, queries: int, kept: int) -> TopRows:
        """Return places for the best `kept` rows of each query, all empty."""
        shape = (queries, kept)
        return cls(np.full(shape, -1), np.full(shape, -np.inf), np.full(shape, np.nan))

    def add(self, positions: IndexArray, scores: FloatArray, changes: FloatArray) -> None:
        """Take in the scores and loss changes of some rows, `[rows, queries]`.

        Of equal scores the earlier row wins, so that the batch size changes nothing.
        """
        kept = self.positions.shape[1]
        here = np.broadcast_to(positions, scores.T.shape)
        all_scores = np.concatenate([self.scores, scores.T], axis=1)
        all_positions = np.concatenate([self.positions, here], axis=1)
        all_changes = np.concatenate([self.changes, changes.T], axis=1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :kept]
        self.scores = np.take_along_axis(all_scores, order, axis=1)
        self.positions = np.take_along_axis(all_positions, order, axis=1)
        self.changes = np.take_along_axis(all_changes, order, axis=1)

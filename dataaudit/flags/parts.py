"""Sets of rows whose shares of wrong labels are estimated: those of each class, and groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dataaudit.flags.probabilities import Labels, Values, row_blocks
from dataaudit.flags.results import Interval

CONFIDENCE = 0.95
METHOD_ERROR = 0.15
"""Planted errors are not quite like real ones: claimed minus actual rate stayed within this share
of the rate on the data that the method was developed on (docs/mislabels.md)."""


@dataclass(frozen=True)
class Parts:
    """Sets of rows: all of them, then those of each class, then further ones.

    A class is known by the row's label, so that no table of rows by classes is held.

    Attributes
    ----------
    rows : int
    labels : int64 `[rows]`
        The class of each row, below `classes`.
    classes : int
        0 where labels are no classes.
    further : sequence of bool `[rows]`
    """

    rows: int
    labels: Labels
    classes: int
    further: Sequence[NDArray[np.bool_]] = ()

    @classmethod
    def of_masks(cls, rows: int, masks: Sequence[NDArray[np.bool_]]) -> Parts:
        """Return all rows, and such as may overlap."""
        return cls(rows, np.zeros(0, dtype=np.int64), 0, masks)

    @cached_property
    def sizes(self) -> Values:
        """How many rows each has, `[parts]`."""
        of_classes = np.bincount(self.labels, minlength=self.classes)
        others = [inside.sum() for inside in self.further]
        return np.concatenate([[self.rows], of_classes, others]).astype(np.float64)

    def sums(self, values: NDArray[np.generic], rows: slice = slice(None)) -> Values:
        """Return the sum over each part of some rows' values, `[parts]`.

        Parameters
        ----------
        values : `[rows]`
            Of the rows of the slice.
        rows : slice
        """
        given = np.asarray(values, dtype=np.float64)
        of_classes: Values = np.zeros(0)
        if self.classes:
            of_classes = np.bincount(self.labels[rows], given, self.classes).astype(np.float64)
        others = [given[inside[rows]].sum() for inside in self.further]
        return np.concatenate([[given.sum()], of_classes, others])

    def means(self, values: NDArray[np.generic]) -> Values:
        """Return the mean over each part, `[parts]`; 0 where a part has no row."""
        return np.asarray(self.sums(values) / np.maximum(self.sizes, 1))

    def scatter(self, probability: Values) -> Values:
        """Return by how much the share of wrong labels scatters in each part, `[parts]`.

        One standard deviation, of labels that are wrong with these probabilities, `[rows]`.
        """
        variance = np.zeros(len(self.sizes))
        for rows in row_blocks(self.rows):
            variance += self.sums(probability[rows] * (1 - probability[rows]), rows)
        return np.asarray(np.sqrt(variance) / np.maximum(self.sizes, 1))

    def rates(self, probability: Values, redrawn: Values | None = None) -> list[Interval]:
        """Return the expected share of wrong labels of each part.

        Parameters
        ----------
        probability : `[rows]`
            That each label is wrong.
        redrawn : `[repeats, parts]` or None
            The same share after each redraw; without any, nothing excludes any share. None: the
            share is as it is, and only the labels' own scatter is added.
        """
        values, scatter = self.means(probability), self.scatter(probability)
        low = high = values
        if redrawn is not None and len(redrawn):
            low, high = np.quantile(redrawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
        # The labels' own scatter comes on top of the fit's: without it small sets look too sure.
        margin = scatter + METHOD_ERROR * values * (1 - values)
        low = np.maximum(np.minimum(low, values) - margin, 0.0)
        high = np.minimum(np.maximum(high, values) + margin, 1.0)
        if redrawn is not None and not len(redrawn):
            low, high = np.zeros(len(values)), np.ones(len(values))
        nothing = self.sizes == 0
        low, high = np.where(nothing, 0.0, low), np.where(nothing, 1.0, high)
        return [Interval(*line) for line in np.stack([values, low, high], axis=1).tolist()]

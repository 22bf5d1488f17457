"""Which rows get which label, and how a data file writes a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples


@dataclass(frozen=True)
class Changes:
    """New labels of some rows.

    Attributes
    ----------
    positions : int64 `[changes]`
        Of the rows, ascending.
    labels : int64 `[changes]`
        Their new class indices.
    """

    positions: NDArray[np.int64]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, labels: Mapping[int, int]) -> Changes:
        """Take a mapping of position to class index."""
        positions = sorted(labels)
        new = [labels[position] for position in positions]
        return cls(np.array(positions, dtype=np.int64), np.array(new, dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of rows that change."""
        return len(self.positions)

    def classes(self) -> list[int]:
        """Return the class indices that occur, ascending."""
        return [int(label) for label in np.unique(self.labels)]

    def within(self, start: int, stop: int) -> dict[int, int]:
        """Return the new labels of the rows from `start` up to `stop`, counted from `start`."""
        low, high = np.searchsorted(self.positions, [start, stop])
        places = (self.positions[low:high] - start).tolist()
        return dict(zip(places, self.labels[low:high].tolist(), strict=True))


def first_row_of(samples: Samples, label: int) -> int | None:
    """Return the position of the first row of a class, or None where no row has it."""
    rows = np.flatnonzero(samples.labels == label)
    return int(rows[0]) if len(rows) else None


def labels_are_text(samples: Samples) -> bool:
    """Tell whether the label column holds text rather than numbers."""
    value = samples.take([0]).frame[samples.label_column].iloc[0]
    return isinstance(value, str)

"""Which rows get which label and which are dropped, and how a data file writes a class."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples
from dataaudit.labels.kind import Reading

ROWS_LOOKED_AT = 64
"""For the form in which a file writes labels."""


@dataclass(frozen=True)
class Changes:
    """New labels of some rows, and rows that are left out.

    Attributes
    ----------
    positions : int64 `[changes]`
        Of the rows, ascending.
    labels : int64 `[changes]`
        Their new class indices; of other tasks, positions in `values`.
    values : sequence or None
        New labels that are no classes: targets, or tuples of labels or tags.
    dropped : int64 `[dropped]`
        Positions of the rows that are left out, ascending.
    """

    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    values: Sequence[Any] | None = None
    dropped: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @classmethod
    def of(cls, labels: Mapping[int, int]) -> Changes:
        """Take a mapping of position to class index."""
        positions = sorted(labels)
        new = [labels[position] for position in positions]
        return cls(np.array(positions, dtype=np.int64), np.array(new, dtype=np.int64))

    @classmethod
    def to_values(cls, labels: Mapping[int, Any]) -> Changes:
        """Take a mapping of position to target, text, or a tuple of labels or tags."""
        values = list(dict.fromkeys(labels.values()))
        places = {value: place for place, value in enumerate(values)}
        coded = cls.of({position: places[value] for position, value in labels.items()})
        return replace(coded, values=values)

    def __len__(self) -> int:
        """Return the number of rows that change."""
        return len(self.positions)

    def without(self, positions: Iterable[int]) -> Changes:
        """Return the same changes with some rows left out."""
        return replace(self, dropped=np.array(sorted(positions), dtype=np.int64))

    def kept(self, start: int, stop: int) -> NDArray[np.bool_] | None:
        """Return which rows from `start` up to `stop` stay; None where all of them do."""
        low, high = np.searchsorted(self.dropped, [start, stop])
        if low == high:
            return None
        stay = np.ones(stop - start, dtype=bool)
        stay[self.dropped[low:high] - start] = False
        return stay

    def classes(self) -> list[int]:
        """Return the class indices that occur, ascending."""
        return [int(label) for label in np.unique(self.labels)]

    def within(self, start: int, stop: int) -> dict[int, int]:
        """Return the new labels of the rows from `start` up to `stop`, counted from `start`."""
        low, high = np.searchsorted(self.positions, [start, stop])
        places = (self.positions[low:high] - start).tolist()
        return dict(zip(places, self.labels[low:high].tolist(), strict=True))


def as_labels(samples: Samples, changes: Changes) -> NDArray[Any]:
    """Return the new labels as `samples.labels` holds labels."""
    if changes.values is None:
        return changes.labels
    new = [changes.values[place] for place in changes.labels]
    if samples.kind.amended is not None:
        old = samples.labels[changes.positions]
        return samples.kind.amended(old, [str(text) for text in new], samples.classes)
    reading = Reading(classes=samples.classes or None, ignore=samples.ignore_label)
    labels, _ = samples.kind.read(
        pd.Series(new, dtype=object),
        samples.ids[changes.positions],
        samples.source.description,
        reading,
    )
    return samples.kind.alike([labels, samples.labels])[0]


def as_cell(samples: Samples, value: Any) -> str:
    """Return a target, text, or a tuple of labels, as a cell of text."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    first = _first_label(samples)
    if isinstance(first, str) and first.lstrip().startswith("["):
        return json.dumps(list(value), ensure_ascii=False)
    return samples.separator.join(map(str, value))


def first_row_of(samples: Samples, label: int) -> int | None:
    """Return the position of the first row of a class, or None where no row has it."""
    rows = np.flatnonzero(samples.labels == label)
    return int(rows[0]) if len(rows) else None


def labels_are_text(samples: Samples) -> bool:
    """Tell whether the label column holds text rather than numbers."""
    return isinstance(_first_label(samples), str)


def _first_label(samples: Samples) -> Any:
    """Return a label as the file has it, the first that says something; None where none does."""
    usable = np.flatnonzero(samples.kind.usable(samples.labels, samples.classes))
    if len(usable) == 0:
        return None
    values = samples.take(usable[:ROWS_LOOKED_AT]).frame[samples.label_column].tolist()
    # An empty text is a set without labels, whatever form the others have.
    return next((value for value in values if not (isinstance(value, str) and value == "")), "")

"""Which rows get which label and which are dropped, and how a data file writes a class."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        return json.dumps(as_listed(samples, value), ensure_ascii=False)
    return samples.separator.join(map(str, value))


def first_row_of(samples: Samples, label: int) -> int | None:
    """Return the position of the first row of a class, or None where no row has it."""
    rows = np.flatnonzero(samples.labels == label)
    return int(rows[0]) if len(rows) else None


def labels_are_text(samples: Samples) -> bool:
    """Tell whether the label column holds text rather than numbers."""
    return isinstance(_first_label(samples), str)


def as_listed(samples: Samples, labels: Sequence[Any]) -> list[Any]:
    """Return several labels as the lists of the file hold them: as names, numbers or true, false.

    Parameters
    ----------
    samples : Samples
    labels : sequence
        Names; numbers where the file has them; or 0 or 1 for each class.
    """
    form = _form_of_items(samples)
    known = [label for label in labels if not isinstance(label, str) or label.isdecimal()]
    return [form(label) for label in labels] if len(known) == len(labels) else list(labels)


def _form_of_items(samples: Samples) -> Callable[[Any], Any]:
    """Tell by the first list that holds something; where none does, by the classes."""
    for value in _labels_seen(samples):
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                continue
        value = value.tolist() if isinstance(value, np.ndarray) else value
        if isinstance(value, list | tuple) and len(value):
            kind = type(value[0].item() if isinstance(value[0], np.generic) else value[0])
            forms: dict[type, Callable[[Any], Any]] = {
                bool: lambda label: bool(int(label)),
                int: int,
                float: float,
            }
            return forms.get(kind, lambda label: label)
    whole = len(samples.classes) and all(isinstance(name, int) for name in samples.classes)
    return int if whole else lambda label: label


def _first_label(samples: Samples) -> Any:
    """Return a label as the file has it, the first that says something; None where none does."""
    values = _labels_seen(samples)
    if not values:
        return None
    # An empty text is a set without labels, whatever form the others have.
    return next((value for value in values if not (isinstance(value, str) and value == "")), "")


def _labels_seen(samples: Samples) -> list[Any]:
    """Return the first labels that can be used, as the file has them."""
    usable = np.flatnonzero(samples.kind.usable(samples.labels, samples.classes))
    if len(usable) == 0:
        return []
    found: list[Any] = samples.take(usable[:ROWS_LOOKED_AT]).frame[samples.label_column].tolist()
    return found

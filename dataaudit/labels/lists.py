"""Rows with several labels each: lists from a column, as places among the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from dataaudit.errors import DataError
from dataaudit.labels.kind import Names, Reading
from dataaudit.labels.values import SHOWN, short

MOST_CLASSES = 30_000
"""A larger whole number is no class index; a list of that many classes would fill the memory."""


def places_of(
    values: pd.Series,
    ids: NDArray[Any],
    where: str,
    reading: Reading,
    parse: Callable[[Any], list[Any] | None],
    noun: str,
    expected: str,
    known: Mapping[str, int] | None = None,
    by_index: bool = False,
) -> tuple[list[list[int] | None], Names]:
    """Return the places of each row's labels, None where they cannot be used; and the classes.

    Parameters
    ----------
    values, ids, where, reading
        As for `Kind.read`.
    parse : callable
        Returns the labels of a value, or None where it is no list of them.
    noun, expected : str
        What a label is called, and what was expected of a value that is no list.
    known : mapping of text to place, or None
        Labels that are no classes.
    by_index : bool
        Whether a label may also be the index of a class. Names go first: a class that is called
        "1" is what a label 1 means.

    Raises
    ------
    DataError
        A row has no list of labels, or one that is none of the classes; classes are needed.
    """
    found = [parse(value) for value in values.tolist()]
    if None in found and not reading.tolerate:
        row = found.index(None)
        raise DataError(
            f"{where}: row {row} (id {ids[row]}): found {short(values.tolist()[row])}; expected "
            f"{expected}"
        )
    classes = reading.classes or reading.output_names
    if classes is None:
        names = {str(label) for labels in found if labels is not None for label in labels}
        classes = _numbered(names - set(known or ()), noun, where)
    places = {str(place): place for place in range(len(classes))} if by_index else {}
    places |= {str(name): place for place, name in enumerate(classes)} | dict(known or {})
    result: list[list[int] | None] = []
    for row, labels in enumerate(found):
        unknown = [label for label in labels or () if str(label) not in places]
        if unknown and not reading.tolerate:
            shown = ", ".join(map(str, classes[:SHOWN]))
            raise DataError(
                f"{where}: row {row} (id {ids[row]}): {noun} {unknown[0]!r} is not one of the "
                f"classes [{shown}]"
            )
        usable = labels is not None and not unknown
        result.append([places[str(label)] for label in labels or ()] if usable else None)
    return result, list(classes)


def _numbered(names: set[str], noun: str, where: str) -> Names:
    """Return 0..C-1 for labels that are whole numbers, or raise with the line to add."""
    if names and all(name.isdecimal() for name in names):
        largest = max(map(int, names))
        if largest >= MOST_CLASSES:
            raise DataError(
                f"{where}: found {noun} {largest}; expected class indices below {MOST_CLASSES}"
            )
        return range(largest + 1)
    if not names:
        raise DataError(
            f"{where}: no row has a {noun}; add the line `classes: [...]`, in the order of the "
            "model's outputs"
        )
    if not names:
        raise DataError(
            f"{where}: no row has a {noun}; add the line `classes: [...]`, in the order of the "
            "model's outputs"
        )
    shown = ", ".join(sorted(names)[:SHOWN])
    raise DataError(
        f"{where}: {noun}s are text; add the line `classes: [{shown}]`, in the order of the "
        "model's outputs"
    )

"""Sets of labels: from a list column, delimited text or several 0/1 columns to a 0/1 matrix.

As text a set is its labels in the order of the classes with `|` between them, `(none)` where it
is empty: people can read and type it, a table can be sorted by it, and the same set is always
written alike, whatever order and form the data has it in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.errors import DataError
from dataaudit.inert import as_it_was
from dataaudit.labels.kind import Kind, Labels, Names, Reading, counted
from dataaudit.labels.lists import places_of
from dataaudit.labels.values import (
    IGNORED,
    UNUSABLE,
    is_ignored,
    is_missing,
    listed,
    meant,
    plain,
    real_numbers,
)

SEPARATOR = "|"
NO_LABEL = "(none)"
Members = NDArray[np.int8]
"""`[rows, L]`: 1 where a label is present, 0 where it is absent; a row whose labels cannot be used
is `UNUSABLE` throughout, one that is not to be judged is `IGNORED` throughout."""


def as_text(members: NDArray[Any], classes: Sequence[str | int]) -> str:
    """Return one row's set, `[L]`, as text; empty text where the row has no usable labels."""
    if len(members) and members[0] < 0:
        return ""
    names = [str(name) for name, member in zip(classes, members, strict=True) if member]
    return SEPARATOR.join(names) or NO_LABEL


def from_text(text: str, classes: Sequence[str | int]) -> Members:
    """Return the set that a text names, `[L]`, labels in any order.

    Raises
    ------
    ValueError
        A label is none of the classes; the message has its name.
    """
    places = {str(name): place for place, name in enumerate(classes)}
    members = np.zeros(len(classes), dtype=np.int8)
    if text.strip() in ("", NO_LABEL):
        return members
    for name in text.split(SEPARATOR):
        if name.strip() not in places:
            raise ValueError(name.strip())
        members[places[name.strip()]] = 1
    return members


def sets_of_columns(table: pd.DataFrame, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Turn 0/1 columns into sets; the classes are their names, or as the caller has them.

    Parameters
    ----------
    table : pandas.DataFrame `[rows, L]`
        One column for each label: 0, 1, false or true. A row with another value in any of them
        is marked where that is tolerated.
    ids, where, reading
        As for `Kind.read`.

    Returns
    -------
    int8 `[rows, L]`, and the classes

    Raises
    ------
    DataError
        There are more or fewer classes than columns, or one that texts of sets cannot tell apart; a
        value is neither 0 nor 1.
    """
    names = list(table.columns) if reading.classes is None else list(reading.classes)
    if len(names) != table.shape[1]:
        raise DataError(
            f"{where}: {table.shape[1]} label columns, but classes: names {len(names)}; expected "
            "as many, in the same order"
        )
    _refuse_mistakable(names, where)
    members = np.zeros(table.shape, dtype=np.int8)
    ignored = np.zeros(len(table), dtype=bool)
    bad = np.zeros(len(table), dtype=bool)
    if reading.ignore is not None:
        for name in table.columns:
            # A missing value beside it makes -1.0 of -1.
            ignored |= [is_ignored(plain(value), reading.ignore) for value in table[name].tolist()]
    for place, name in enumerate(table.columns):
        values = table[name]
        numbers = real_numbers(values)
        wrong = ~np.isin(numbers, (0.0, 1.0))
        if (wrong & ~ignored).any() and not reading.tolerate:
            row = int(np.flatnonzero(wrong & ~ignored)[0])
            raise DataError(
                f"{where}: column {name!r}: row {row} (id {ids[row]}): found "
                f"{values.tolist()[row]!r}; expected 0 or 1 in every row (task multi-label)"
            )
        bad |= wrong
        members[:, place] = np.where(wrong, 0, numbers)
    members[bad] = UNUSABLE
    members[ignored] = IGNORED
    return members, names


def sets_of_values(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Turn lists of labels, or texts of labels with a separator between them, into sets.

    Parameters
    ----------
    values : pandas.Series `[rows]`
        Lists or arrays of labels; texts such as `a|c` or `["a", "c"]`, where an empty one has no
        label. Labels are class values, or positions where the classes are numbers 0..L-1. Where
        all lists have one length and hold 0 and 1 alone, and one of these repeatedly, they say of
        each class in turn whether it is there. A row that is the value to ignore, or has it among
        its labels, is not judged.
    ids, where, reading
        As for `Kind.read`.

    Returns
    -------
    int8 `[rows, L]`, and the classes

    Raises
    ------
    DataError
        A row has no list of labels, or one that is none of the classes; classes are needed, or
        texts of sets cannot tell them apart.
    """
    marks = _marks(values, reading.ignore)
    if marks is not None:
        names = reading.classes or reading.output_names or range(marks.shape[1])
        if len(names) != marks.shape[1]:
            raise DataError(
                f"{where}: found lists of {marks.shape[1]} zeros and ones for {len(names)} "
                "classes; expected one for each class, or a list of those that are there"
            )
        table = marks.set_axis(list(names), axis=1)
        return sets_of_columns(table, ids, where, replace(reading, classes=list(names)))

    def parse(value: Any) -> list[Any] | None:
        return _labels(value, reading.separator)

    def is_judged(value: Any) -> bool:
        return not any(
            is_ignored(found, reading.ignore) for found in (value, *(parse(value) or ()))
        )

    judged = np.ones(len(values), dtype=bool)
    if reading.ignore is not None:
        judged[:] = [is_judged(value) for value in values.tolist()]
    expected = (
        f"a list of labels, or text with {reading.separator!r} between labels (task multi-label)"
    )
    found, classes = places_of(
        values.where(judged, NO_LABEL), ids, where, reading, parse, "label", expected
    )
    _refuse_mistakable(classes, where)
    members = np.zeros((len(found), len(classes)), dtype=np.int8)
    for row, places in enumerate(found):
        members[row, slice(None) if places is None else places] = UNUSABLE if places is None else 1
    members[~judged] = IGNORED
    return members, classes


def _marks(values: pd.Series, ignore: str | int | None) -> pd.DataFrame | None:
    """Return lists that say of each class whether it is there, `[rows, L]`; else None.

    Lists of labels are told from these by that they name no label twice, and not as true or false.
    """
    rows: list[list[Any] | None] = []
    width, told = 0, False
    for value in values.tolist():
        if is_missing(value, None):
            rows.append(None)
            continue
        row = _listed(value)
        if row is None or len(row) != (width or len(row)):
            return None
        width = len(row)
        if not width or not all(
            (isinstance(mark, int) and mark in (0, 1)) or is_ignored(mark, ignore) for mark in row
        ):
            return None
        told = told or len(set(row)) < width or any(isinstance(mark, bool) for mark in row)
        rows.append(row)
    if not told:
        return None
    return pd.DataFrame([row or [None] * width for row in rows], dtype=object)


def _listed(value: Any) -> list[Any] | None:
    """Return the items of a list, or of a text that is one; None where the value is no list."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return [plain(item) for item in value] if isinstance(value, list | tuple) else None


def _labels(value: Any, separator: str) -> list[Any] | None:
    """Return the labels of one row, or None where the value is no list of labels."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                return None
        else:
            if text in ("", NO_LABEL):
                return []
            return [part.strip() for part in text.split(separator)]
    if not isinstance(value, list | tuple):
        value = plain(value)
        return [value] if type(value) is int else None
    labels = [plain(label) for label in value]
    return labels if all(isinstance(label, str | int) for label in labels) else None


def shown(labels: Members, classes: Names) -> NDArray[Any]:
    """Return the sets as text, `[n]`."""
    return np.array([as_text(members, classes) for members in labels], dtype=object)


def counts(labels: Members, classes: Names, train: NDArray[Any]) -> list[tuple[str, int]]:
    """Return the rows that carry each label."""
    return counted(classes, (labels > 0).sum(axis=0))


def typed(text: str, classes: Sequence[str], given: str) -> str:
    """Return the set that a person typed."""
    try:
        members = from_text(as_it_was(text), classes)
    except ValueError as error:
        name = str(error)
        raise ValueError(
            f"{name!r} in {text!r} is none of the labels {listed(classes)}; expected labels with "
            f"{SEPARATOR!r} between them, or {NO_LABEL}{meant(name, classes)}"
        ) from None
    return as_text(members, classes)


def corrected(after: str, before: str, value: Any, classes: Sequence[str]) -> tuple[Any, ...]:
    """Return the labels of the set, or 0 or 1 for each class where the file has such lists."""
    row = _listed(value)
    marks = row is not None and len(row) == len(classes) and all(mark in (0, 1) for mark in row)
    if marks and as_text(np.array(row, dtype=np.int8), classes) == before:
        return tuple(int(member) for member in from_text(after, classes))
    return tuple(name for name in after.split(SEPARATOR) if name != NO_LABEL)


def _refuse_mistakable(classes: Names, where: str) -> None:
    try:
        can_be_told_apart(classes)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def can_be_told_apart(classes: Names) -> None:
    """Raise a `ValueError` where a name would be mistaken in the text of a set."""
    for name in map(str, classes):
        if SEPARATOR in name or name in ("", NO_LABEL) or name != name.strip():
            raise ValueError(
                f"{name!r} cannot be told apart in a set such as a|c; expected names "
                "without | and outer spaces, other than (none)"
            )


SETS = Kind(
    read=sets_of_values,
    read_columns=sets_of_columns,
    shown=shown,
    counts=counts,
    typed=typed,
    corrected=corrected,
    check_classes=can_be_told_apart,
    form="several choices",
    several=True,
)

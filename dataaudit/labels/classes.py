"""Classes: one of several for each row, as its index; every row without a usable one is named."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from dataaudit.errors import DataError
from dataaudit.inert import as_it_was
from dataaudit.labels.kind import Kind, Labels, Names, Reading, counted
from dataaudit.labels.values import (
    IGNORED,
    SHOWN,
    UNUSABLE,
    is_ignored,
    is_missing,
    listed,
    meant,
    named_row,
    plain,
    such_rows,
)

ROWS_AT_ONCE = 2**18
MOST_CLASSES = 100_000
"""A larger whole number is no class index; a list of that many classes would fill the memory."""


def class_indices(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Turn labels into positions in the list of classes.

    Parameters
    ----------
    values, ids, where, reading
        As for `Kind.read`. The names that the data stores for its classes are the folders of an
        image folder (labels are names), or the ClassLabel of a Hugging Face data set (labels are
        0..C-1). Labels that are missing or unknown become `UNUSABLE` where that is tolerated, the
        value to ignore becomes `IGNORED`.

    Returns
    -------
    int64 `[n]`, and the classes

    Raises
    ------
    DataError
        When a label is missing or is none of the classes; when classes are needed and not given.
    """
    classes, names = reading.classes, reading.stored_names
    if reading.output_names is not None and classes in (None, reading.output_names):
        classes = reading.output_names
        # Names that are numbers themselves (stars from "1" to "5") are matched as they are.
        if names is None and not any(name.lstrip("-").isdigit() for name in classes):
            names = classes
    # A value of each kind once: data sets have millions of rows and few classes.
    try:
        codes, found = _codes(values)
    except TypeError as error:
        kind = _first_unhashable(values)
        raise DataError(f"{where}: labels must be text or numbers, found a {kind}") from error
    distinct = [plain(value) for value in found]
    to_ignore = [code for code, value in enumerate(distinct) if is_ignored(value, reading.ignore)]
    as_read = [None if is_missing(value, names) else value for value in distinct]
    missing = [
        code for code, value in enumerate(as_read) if value is None and code not in to_ignore
    ]
    if not reading.tolerate or len(missing) == len(as_read):
        _refuse_missing(codes, missing, ids, where)
    for value in distinct:
        if not isinstance(value, str | int | float) and value is not None:
            raise DataError(
                f"{where}: labels must be text or numbers, found a {type(value).__name__}"
            )

    if names is not None and (classes is None or any(isinstance(known, str) for known in classes)):
        as_read = [_named(value, names) for value in as_read]
    for code in to_ignore:
        as_read[code] = None
    if classes is None:
        as_read = _as_numbers(as_read)
    present = [value for value in as_read if value is not None]
    if not present:
        raise DataError(f"{where}: no row has a label; expected one in most rows")
    if classes is None:
        classes = list(names) if names is not None else _classes_from(present, where)
    index_of = _positions(as_read, classes)
    unknown = [
        code for code, index in enumerate(index_of) if index is None and code not in to_ignore
    ]
    if unknown and not reading.tolerate:
        row = int(np.flatnonzero(np.isin(codes, unknown))[0])
        _refuse_unknown(as_read[codes[row]], row, ids, where, classes)
    # The last entry is for the code -1 of values that pandas takes for missing.
    table = np.array(
        [UNUSABLE if index is None else index for index in [*index_of, None]], dtype=np.int64
    )
    table[to_ignore] = IGNORED
    return table[codes], list(classes)


def _codes(values: pd.Series) -> tuple[NDArray[np.int32], list[Any]]:
    """Return which distinct value each one is, -1 for missing ones, and these in order.

    Part by part: to tell the values of all rows apart at once takes forty bytes for each.
    """
    place: dict[Any, int] = {}
    every = np.empty(len(values), dtype=np.int32)
    for start in range(0, len(values), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        codes, found = pd.factorize(values.iloc[part], use_na_sentinel=True)
        places = [place.setdefault(value, len(place)) for value in found]
        every[part] = np.array([*places, -1], dtype=np.int32)[codes]
    return every, list(place)


def _named(value: Any, names: Sequence[str]) -> Any:
    """Return the stored name of a class index; other values as they are."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    return value


def _as_numbers(found: list[Any]) -> list[Any]:
    """Return texts as the whole numbers they write where the other labels are whole numbers."""
    texts = [value for value in found if isinstance(value, str)]
    rest = [value for value in found if value is not None and not isinstance(value, str)]
    written = all(re.fullmatch(r"0|-?[1-9][0-9]{0,8}", text) for text in texts)
    if not texts or not rest or not written or not all(type(value) is int for value in rest):
        return found
    return [int(value) if isinstance(value, str) else value for value in found]


def _classes_from(found: list[Any], where: str) -> list[str | int]:
    """Return 0..C-1 for labels that are such numbers, or raise with the line to add."""
    whole = [value for value in found if isinstance(value, int)]
    if len(whole) < len(found):
        if any(isinstance(value, float) for value in found):
            fraction = next(value for value in found if isinstance(value, float))
            raise DataError(
                f"{where}: found label {fraction!r}; expected class labels (whole numbers or"
                " text) for task classification"
            )
        raise DataError(f"{where}: labels are text; add the line {_proposal(found)}")
    if min(whole) < 0:
        raise DataError(
            f"{where}: found label {min(whole)}; expected class indices from 0 on, or the line"
            f" {_proposal(found)}"
        )
    if max(whole) >= MOST_CLASSES:
        raise DataError(
            f"{where}: found label {max(whole)}; expected class indices below {MOST_CLASSES}, or"
            " a line `classes: [...]` with the label values in the order of the model's outputs"
        )
    return list(range(int(max(whole)) + 1))


def _proposal(found: list[Any]) -> str:
    ordered = sorted(found, key=lambda value: (isinstance(value, str), value))
    line = _listed(ordered)
    if len(ordered) <= SHOWN:
        return f"`classes: [{line}]`, in the order of the model's outputs"
    return (
        f"`classes: [{line}, ...]`, in the order of the model's outputs ({SHOWN} of"
        f" {len(ordered)} values shown)"
    )


def _listed(values: Sequence[Any]) -> str:
    """Return the first values as a YAML list has them, quoted where YAML needs it."""
    text = yaml.safe_dump(
        [str(value) if not isinstance(value, int | str) else value for value in values[:SHOWN]],
        default_flow_style=True,
        allow_unicode=True,
        width=10**9,
    )
    return str(text).strip()[1:-1]


def _positions(found: list[Any], classes: Sequence[str | int]) -> list[int | None]:
    """Return the position of each label in the classes: by value, else by its text.

    Blanks around a label and the form of its accents (macOS writes names in NFD) are no difference,
    unless two classes differ in nothing else.
    """
    by_value: dict[Any, int] = {}
    by_text: dict[str, int] = {}
    by_letters: dict[str, int | None] = {}
    for position, known in enumerate(classes):
        by_value.setdefault(known, position)
        by_text.setdefault(str(known), position)
        letters = _letters(known)
        by_letters[letters] = None if letters in by_letters else position
    positions = []
    for value in found:
        texts = [str(value), str(value).lower()] if isinstance(value, bool) else [str(value)]
        candidates = [by_value.get(value), *(by_text.get(text) for text in texts)]
        if isinstance(value, str):
            candidates.append(by_letters.get(_letters(value)))
        positions.append(next((found for found in candidates if found is not None), None))
    return positions


def _letters(value: Any) -> str:
    return unicodedata.normalize("NFC", str(value)).strip()


def _refuse_missing(
    codes: NDArray[np.int32],
    missing: list[int],
    ids: NDArray[Any],
    where: str,
) -> None:
    rows = np.flatnonzero(np.isin(codes, [-1, *missing]))
    if len(rows):
        raise DataError(
            f"{where}: {named_row(int(rows[0]), ids)}: the label is missing"
            f" ({such_rows(len(rows))}); expected one in every row"
        )


def _refuse_unknown(
    value: Any, row: int, ids: NDArray[Any], where: str, classes: Sequence[str | int]
) -> None:
    more = f", ... ({len(classes)} in all)" if len(classes) > SHOWN else ""
    message = (
        f"{where}: {named_row(row, ids)}: label {value!r} is not one of the classes"
        f" [{_listed(list(classes))}{more}]"
    )
    if isinstance(value, int) and all(isinstance(known, str) for known in classes):
        message += "; labels are matched by value, class numbers are not translated into names"
    if isinstance(value, str) and (near := _written_otherwise(value, classes)) is not None:
        message += (
            f"; it looks like {near!r}, and differs in blanks around it or in how its letters are "
            "composed (Unicode NFC and NFD): write it alike everywhere"
        )
    if any(isinstance(known, bool) for known in classes) and isinstance(value, str):
        message += "; YAML reads yes, no, on and off without quotes as true and false"
    raise DataError(message)


def _written_otherwise(value: str, classes: Sequence[str | int]) -> str | None:
    """Return the class that a label looks like on the screen, or None."""

    def seen(text: str) -> str:
        return unicodedata.normalize("NFC", text).strip()

    return next(
        (known for known in classes if isinstance(known, str) and seen(known) == seen(value)), None
    )


def _first_unhashable(values: pd.Series) -> str:
    for value in values:
        try:
            hash(value)
        except TypeError:
            return type(value).__name__
    return "mixture of types"


def shown(labels: NDArray[np.int64], classes: Names) -> NDArray[Any]:
    """Return the class values, `[n]`; None where a label cannot be used."""
    values, known = np.array(list(classes)), labels >= 0
    if known.all():
        return values[labels]
    result = np.full(len(labels), None, dtype=object)
    result[known] = values[labels[known]].tolist()
    return result


def counts(labels: NDArray[np.int64], classes: Names, train: NDArray[Any]) -> list[tuple[str, int]]:
    """Return the rows of each class."""
    return counted(classes, np.bincount(labels, minlength=len(classes)))


def typed(text: str, classes: Sequence[str], given: str) -> str:
    """Return the class that a person typed."""
    for candidate in (as_it_was(text), text):
        if candidate in classes:
            return candidate
    more = f", ... ({len(classes)} in all)" if len(classes) > SHOWN else ""
    raise ValueError(
        f"{text!r} is none of the classes {listed(classes)}{more}{meant(text, classes)}"
    )


def corrected(after: str, before: str, value: Any, classes: Sequence[str]) -> int:
    """Return the index of the class named `after`."""
    return list(classes).index(after)


def usable(labels: NDArray[np.int64], classes: Names) -> NDArray[np.bool_]:
    """Tell which indices are those of a class, `[n]`."""
    return np.asarray((labels >= 0) & (labels < len(classes)))


def at_least_two(classes: Names) -> None:
    """Raise a `ValueError` where there is nothing to tell apart."""
    if len(classes) < 2:
        raise ValueError("expected at least 2 classes")


CLASSES = Kind(
    read=class_indices,
    shown=shown,
    counts=counts,
    typed=typed,
    corrected=corrected,
    usable=usable,
    check_classes=at_least_two,
    one_class=True,
    probed=True,
    refitted=True,
    indices=True,
)

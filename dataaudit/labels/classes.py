"""Labels as class indices or targets; every row without a usable one is named."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from dataaudit.errors import DataError

SHOWN = 20
"""At most this many values are listed in a message."""

UNUSABLE = -1
"""The class index of a label that is missing or is none of the classes, where that is allowed."""

IGNORED = -2
"""The class index of a label that says that its row is not to be judged (`ignore_label`)."""

MOST_CLASSES = 100_000
"""A larger whole number is no class index; a list of that many classes would fill the memory."""


def class_indices(
    values: pd.Series,
    ids: NDArray[Any],
    *,
    where: str,
    classes: Sequence[str | int] | None,
    names: Sequence[str] | None,
    tolerate: bool = False,
    ignore: str | int | None = None,
) -> tuple[NDArray[np.int64], list[str | int]]:
    """Turn labels into positions in the list of classes.

    Parameters
    ----------
    values : pandas.Series `[n]`
        The labels as the file has them.
    ids : `[n]`
        Named in errors.
    where : str
        The file and the column, for errors.
    classes : sequence of str or int, or None
        The label values in the order of the model's outputs, where the user gave them.
    names : sequence of str or None
        The names the data itself stores for its classes, in its order: the folders of an image
        folder (labels are names), the ClassLabel of a Hugging Face data set (labels are 0..C-1).
    tolerate : bool
        Whether labels that are missing or unknown become `UNUSABLE` instead of an error.
    ignore : str, int or None
        The value that becomes `IGNORED`.

    Returns
    -------
    int64 `[n]`, and the classes

    Raises
    ------
    DataError
        When a label is missing or is none of the classes; when classes are needed and not given.
    """
    # A value of each kind once: data sets have millions of rows and few classes.
    try:
        codes, found = pd.factorize(values, use_na_sentinel=True)
    except TypeError as error:
        kind = _first_unhashable(values)
        raise DataError(f"{where}: labels must be text or numbers, found a {kind}") from error
    distinct = [_plain(value) for value in found]
    to_ignore = [code for code, value in enumerate(distinct) if _is_ignored(value, ignore)]
    as_read = [None if _is_missing(value, names) else value for value in distinct]
    missing = [
        code for code, value in enumerate(as_read) if value is None and code not in to_ignore
    ]
    if not tolerate or len(missing) == len(as_read):
        _refuse_missing(codes, missing, ids, where, classes or ())
    for value in distinct:
        if not isinstance(value, str | int | float) and value is not None:
            raise DataError(
                f"{where}: labels must be text or numbers, found a {type(value).__name__}"
            )

    if names is not None and (classes is None or any(isinstance(known, str) for known in classes)):
        as_read = [_named(value, names) for value in as_read]
    for code in to_ignore:
        as_read[code] = None
    present = [value for value in as_read if value is not None]
    if not present:
        raise DataError(f"{where}: no row has a label; expected one in most rows")
    if classes is None:
        classes = list(names) if names is not None else _classes_from(present, where)
    index_of = _positions(as_read, classes)
    unknown = [
        code for code, index in enumerate(index_of) if index is None and code not in to_ignore
    ]
    if unknown and not tolerate:
        row = int(np.flatnonzero(np.isin(codes, unknown))[0])
        _refuse_unknown(as_read[codes[row]], row, ids, where, classes)
    # The last entry is for the code -1 of values that pandas takes for missing.
    table = np.array(
        [UNUSABLE if index is None else index for index in [*index_of, None]], dtype=np.int64
    )
    table[to_ignore] = IGNORED
    return table[codes], list(classes)


def targets(
    values: pd.Series,
    ids: NDArray[Any],
    *,
    where: str,
    tolerate: bool = False,
    ignore: str | int | None = None,
) -> NDArray[np.float64]:
    """Turn labels into regression targets.

    Parameters
    ----------
    values, ids, where
        As for `class_indices`.
    tolerate : bool
        Whether targets that cannot be used become NaN instead of an error.
    ignore : str, int or None
        The value that becomes minus infinity: its row is not to be judged.

    Returns
    -------
    float64 `[n]`

    Raises
    ------
    DataError
        When a target is missing, is not a number, or is infinite.
    """
    try:
        numeric = pd.to_numeric(values.astype(object), errors="coerce")
        result = np.array(numeric, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: expected a finite number in every row: {error}") from error
    result[~np.isfinite(result)] = np.nan
    if ignore is not None:
        named = [_is_ignored(_plain(value), ignore) for value in values]
        result[np.array(named, dtype=bool)] = -np.inf
    wrong = np.flatnonzero(np.isnan(result))
    if len(wrong) and (not tolerate or len(wrong) == len(result)):
        row = int(wrong[0])
        found = _plain(values.iloc[row])
        what = "the target is missing" if _is_missing(found, None) else f"target {found!r}"
        raise DataError(
            f"{where}: {_row(row, ids)}: {what}; expected a finite number in every row"
            f" ({_and_others(len(wrong))})"
        )
    return result


def unusable(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows have a label that cannot be used, `[n]`; of any task."""
    if labels.ndim == 2:
        return np.asarray((labels == UNUSABLE).any(axis=1))
    if np.issubdtype(labels.dtype, np.floating):
        return np.asarray(np.isnan(labels))
    return np.asarray(labels == UNUSABLE)


def ignored(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows have a label that says not to judge them, `[n]`; of any task."""
    if labels.ndim == 2:
        return np.asarray((labels == IGNORED).any(axis=1))
    if np.issubdtype(labels.dtype, np.floating):
        return np.asarray(np.isneginf(labels))
    return np.asarray(labels == IGNORED)


def _is_ignored(value: Any, ignore: str | int | None) -> bool:
    return ignore is not None and str(value) == str(ignore)


def _plain(value: Any) -> Any:
    """Return a NumPy or torch scalar as a Python value, and a whole float as an int."""
    if hasattr(value, "item") and getattr(value, "size", 1) != 0:
        try:
            value = value.item()
        except (TypeError, ValueError, RuntimeError):
            return value
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def _is_missing(value: Any, names: Sequence[str] | None) -> bool:
    """Tell whether a label says nothing: None, NaN, empty text, -1 beside stored names."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, str):
        return value == ""
    if isinstance(value, float | Decimal) and math.isnan(value):
        return True
    return names is not None and isinstance(value, int) and value == -1


def _named(value: Any, names: Sequence[str]) -> Any:
    """Return the stored name of a class index; other values as they are."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    return value


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
    codes: NDArray[np.int64],
    missing: list[int],
    ids: NDArray[Any],
    where: str,
    classes: Sequence[str | int],
) -> None:
    rows = np.flatnonzero(np.isin(codes, [-1, *missing]))
    if len(rows):
        # In a column of numbers such a word is a number that is not there.
        words = ("None", "NA", "nan", "null")
        odd = next((known for known in classes if str(known) in words), None)
        hint = "" if odd is None else f"; beside numbers, {odd} in a text file is a missing one"
        raise DataError(
            f"{where}: {_row(int(rows[0]), ids)}: the label is missing"
            f" ({_and_others(len(rows))}); expected one in every row{hint}"
        )


def _refuse_unknown(
    value: Any, row: int, ids: NDArray[Any], where: str, classes: Sequence[str | int]
) -> None:
    more = f", ... ({len(classes)} in all)" if len(classes) > SHOWN else ""
    message = (
        f"{where}: {_row(row, ids)}: label {value!r} is not one of the classes"
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


def _row(row: int, ids: NDArray[Any]) -> str:
    """Name a row by its position and, where it has another one, its id."""
    identity = ids[row]
    own = "" if isinstance(identity, np.int64) and identity == row else f" (id {identity!s})"
    return f"row {row}{own}"


def _and_others(count: int) -> str:
    return "1 such row" if count == 1 else f"{count} such rows"


def _first_unhashable(values: pd.Series) -> str:
    for value in values:
        try:
            hash(value)
        except TypeError:
            return type(value).__name__
    return "mixture of types"

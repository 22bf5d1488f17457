"""What all kinds of labels share: marks of unusable ones, and the values that files hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.errors import close_match

SHOWN = 20
"""At most this many values are listed in a message."""

UNUSABLE = -1
"""The class index of a label that is missing or is none of the classes, where that is allowed."""

IGNORED = -2
"""The class index of a label that says that its row is not to be judged (`ignore_label`)."""


def unusable(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows have a label that cannot be used, `[n]`; of any task."""
    if labels.ndim > 1:
        return _has(labels, UNUSABLE)
    if np.issubdtype(labels.dtype, np.floating):
        return np.asarray(np.isnan(labels))
    return np.asarray(labels == UNUSABLE)


def ignored(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows have a label that says not to judge them, `[n]`; of any task."""
    if labels.ndim > 1:
        return _has(labels, IGNORED)
    if np.issubdtype(labels.dtype, np.floating):
        return np.asarray(np.isneginf(labels))
    return np.asarray(labels == IGNORED)


def _has(labels: NDArray[Any], mark: int) -> NDArray[np.bool_]:
    return np.asarray((labels == mark).any(axis=tuple(range(1, labels.ndim))))


def is_ignored(value: Any, ignore: str | int | None) -> bool:
    """Tell whether a value is the one that says not to judge its row."""
    return ignore is not None and str(value) == str(ignore)


def plain(value: Any) -> Any:
    """Return a NumPy or torch scalar as a Python value, and a whole float as an int."""
    if hasattr(value, "item") and getattr(value, "size", 1) != 0:
        try:
            value = value.item()
        except (TypeError, ValueError, RuntimeError):
            return value
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def real_numbers(values: pd.Series) -> NDArray[np.float64]:
    """Return values as numbers, `[n]`, NaN for what is none: a complex number is none, either.

    Raises
    ------
    TypeError, ValueError, OverflowError
        A value is of a kind that cannot be compared with numbers, or a whole number beyond all
        floating ones.
    """
    objects = values.astype(object)
    numbers = pd.to_numeric(objects, errors="coerce")
    if np.iscomplexobj(numbers):
        # As real numbers they would lose a part without a word.
        real = [not isinstance(plain(value), complex) for value in objects]
        numbers = pd.to_numeric(objects.where(real, None), errors="coerce")
    return np.array(numbers, dtype=np.float64)


def is_missing(value: Any, names: Sequence[str] | None) -> bool:
    """Tell whether a label says nothing: None, NaN, empty text, -1 beside stored names."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, str):
        return value == ""
    if isinstance(value, float | Decimal) and math.isnan(value):
        return True
    return names is not None and isinstance(value, int) and value == -1


def short(value: Any) -> str:
    """Return a value as messages show it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def listed(names: Sequence[object]) -> str:
    """Return the first names as messages list them, `'a', 'b'`."""
    return ", ".join(map(repr, names[:SHOWN]))


def meant(name: str, names: Sequence[str]) -> str:
    """Return the end of a message about a name that is none of `names`: what may be meant."""
    near = close_match(name, names)
    return f"; did you mean {near!r}?" if near else ""


def named_row(row: int, ids: NDArray[Any]) -> str:
    """Name a row by its position and, where it has another one, its id."""
    identity = ids[row]
    own = "" if isinstance(identity, np.int64) and identity == row else f" (id {identity!s})"
    return f"row {row}{own}"


def such_rows(count: int) -> str:
    """Return how many rows are like the one that a message names."""
    return "1 such row" if count == 1 else f"{count} such rows"

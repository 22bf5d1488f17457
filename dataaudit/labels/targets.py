"""Targets: one number for each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.errors import DataError
from dataaudit.inert import as_it_was
from dataaudit.labels.kind import Kind, Labels, Names, Reading, counted
from dataaudit.labels.values import (
    is_ignored,
    is_missing,
    named_row,
    plain,
    real_numbers,
    short,
    such_rows,
)

LARGEST = 1e100
"""Of a target's size: squares and their sums stay finite."""
RANGES = 4
"""Ranges that targets are counted in, with equally many training rows each."""


def targets(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Turn labels into regression targets.

    Parameters
    ----------
    values, ids, where, reading
        As for `Kind.read`. Targets that cannot be used become NaN where that is tolerated; the
        value to ignore becomes minus infinity.

    Returns
    -------
    float64 `[n]`, and no classes

    Raises
    ------
    DataError
        When a target is missing, is not a number, is infinite or beyond 1e100.
    """
    try:
        read = real_numbers(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: expected a finite number in every row: {error}") from error
    result = np.where(np.abs(read) <= LARGEST, read, np.nan)
    if reading.ignore is not None:
        named = [is_ignored(plain(value), reading.ignore) for value in values]
        result[np.array(named, dtype=bool)] = -np.inf
    wrong = np.flatnonzero(np.isnan(result))
    if len(wrong) and (not reading.tolerate or len(wrong) == len(result)):
        row = int(wrong[0])
        found, bounds = plain(values.iloc[row]), ""
        what = "the target is missing" if is_missing(found, None) else f"target {found!r}"
        if np.isfinite(read[row]):
            what, bounds = f"target {read[row]:g}", f", {LARGEST:g} at most in size"
        raise DataError(
            f"{where}: {named_row(row, ids)}: {what}; expected a finite number in every row"
            f"{bounds} ({such_rows(len(wrong))})"
        )
    return result, []


def shown(labels: NDArray[np.float64], classes: Names) -> NDArray[np.float64]:
    """Return the targets as they are."""
    return labels


def counts(
    labels: NDArray[np.float64], classes: Names, train: NDArray[np.float64]
) -> list[tuple[str, int]]:
    """Return the rows in each range between quartiles of the training rows' targets."""
    edges = np.unique(np.quantile(train, np.linspace(0, 1, RANGES + 1)[1:-1]))
    texts = [f"{edge:.4g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(texts)]
    names = [f"below {texts[0]}", *between, f"{texts[-1]} or more"]
    places = np.searchsorted(edges, labels, side="right")
    return counted(names, np.bincount(places, minlength=len(names)))


def typed(text: str, classes: Sequence[str], given: str) -> str:
    """Return the number that a person typed."""
    try:
        value = float(as_it_was(text))
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise ValueError(f"{text!r} is no finite number, as a target has to be, or beyond 1e100")
    return str(value)


def corrected(after: str, before: str, value: Any, classes: Sequence[str]) -> float:
    """Return the number."""
    return float(after)


def reason(value: Any) -> str:
    """Say why a value is no target."""
    return f"the target {short(value)} is no finite number, or beyond 1e100"


def same(written: str, label: str) -> bool:
    """Compare as numbers: a spreadsheet writes 151.0 as 151, and an export '-0.5 for -0.5."""
    try:
        return math.isclose(float(as_it_was(written)), float(label), rel_tol=1e-9)
    except ValueError:
        return False


def no_classes(classes: Names) -> None:
    """Refuse them."""
    raise ValueError("expected no classes for task regression")


TARGETS = Kind(
    read=targets,
    shown=shown,
    counts=counts,
    typed=typed,
    corrected=corrected,
    reason=reason,
    same=same,
    check_classes=no_classes,
    refitted=True,
    form="number",
    repeats=False,
    has_classes=False,
)

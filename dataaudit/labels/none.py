"""Rows without labels: those of generative models."""

from __future__ import annotations

from typing import Any, Never

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.labels.kind import Kind, Labels, Names, Reading


def read(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Return 0 for each row, whatever the values are, and no classes."""
    return np.zeros(len(ids), dtype=np.int64), []


def shown(labels: NDArray[np.int64], classes: Names) -> NDArray[np.int64]:
    """Return the zeros."""
    return labels


def carried(labels: NDArray[np.int64], classes: Names) -> NDArray[np.bool_]:
    """Return `[n, 0]`."""
    return np.zeros((len(labels), 0), dtype=bool)


def counts(labels: NDArray[np.int64], classes: Names, train: NDArray[Any]) -> list[tuple[str, int]]:
    """Return nothing."""
    return []


def never(*arguments: Any) -> Never:
    """Raise a `ValueError`: no label can be typed in or corrected."""
    raise ValueError("the rows have no labels")


NO_LABELS = Kind(
    read=read,
    shown=shown,
    carried=carried,
    counts=counts,
    typed=never,
    corrected=never,
    repeats=False,
    has_classes=False,
)

"""Tables of class probabilities and label columns: checked, and kept away from 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Table = NDArray[np.floating]
"""`[rows, C]`, each row sums to 1."""
Values = NDArray[np.float64]

SMALLEST = 1e-7
"""Probabilities are kept that far from 0, so that logarithms stay finite."""

ROWS_PER_BLOCK = 65_536
CELLS_PER_BLOCK = 2**20


def row_blocks(rows: int, width: int = 1, cells: int = CELLS_PER_BLOCK) -> Iterator[slice]:
    """Yield consecutive slices of rows, so that no copy of a whole table has to be held.

    Parameters
    ----------
    rows, width : int
        Of the table, or of the widest of several.
    cells : int
        The most that a slice of the table has, one row at least.
    """
    length = max(1, min(ROWS_PER_BLOCK, cells // width))
    for start in range(0, rows, length):
        yield slice(start, min(start + length, rows))


def pick(table: Table, labels: Labels) -> Values:
    """Return each row's value at its label, `[rows]`."""
    return np.asarray(table[np.arange(len(labels)), labels])


def softmax(logits: Values) -> Values:
    """Return each row of `[rows, C]` logits as probabilities, none of them 0."""
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return _lifted(values / values.sum(axis=1, keepdims=True))


def sigmoid(log_odds: Values) -> Values:
    """Return log odds as probabilities, strictly between 0 and 1."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -36, 36))))


def checked_table(
    name: str,
    values: NDArray[Any],
    shape: tuple[int, int] | None = None,
    first_row: int = 0,
) -> Values:
    """Return a table of probabilities as float64, none of them 0.

    Parameters
    ----------
    name : str
        Of the argument, for errors.
    values : `[rows, C]`
    shape : tuple or None
        The only shape that is right, where that is known.
    first_row : int
        Number of the first row, for errors.

    Raises
    ------
    ValueError
        Another shape, or a row that is no distribution; the message has the argument's name.
    """
    table = np.asarray(values, dtype=np.float64)
    refuse_shape(name, table.shape)
    if shape is not None and table.shape != shape:
        raise ValueError(f"{name}: found shape {table.shape}, expected {shape}")
    # NaN fails both comparisons.
    good = (table >= 0).all(axis=1) & (np.abs(table.sum(axis=1) - 1) < 1e-3)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"{name}: row {first_row + row} is {table[row]}, expected probabilities, sum 1"
        )
    return _lifted(table)


def refuse_shape(name: str, shape: tuple[int, ...]) -> None:
    """Raise a `ValueError` with the argument's name where a table has no classes to tell apart."""
    if len(shape) != 2 or shape[1] < 2:
        raise ValueError(
            f"{name}: found shape {shape}, expected [rows, classes] with 2 classes or more"
        )


def checked_labels(name: str, values: NDArray[Any], rows: int, classes: int) -> Labels:
    """Return class indices as int64 `[rows]`.

    Raises
    ------
    ValueError
        Another shape, or values that are no class; the message has the argument's name.
    """
    labels = np.asarray(values)
    if labels.shape != (rows,):
        raise ValueError(f"{name}: found shape {labels.shape}, expected ({rows},)")
    whole = np.issubdtype(labels.dtype, np.integer)
    if not whole or not ((labels >= 0) & (labels < classes)).all():
        raise ValueError(
            f"{name}: found values {np.unique(labels)[:5]}, expected integers 0 to {classes - 1}"
        )
    return labels.astype(np.int64, copy=False)


def _lifted(table: Values) -> Values:
    values = np.maximum(table, SMALLEST)
    return np.asarray(values / values.sum(axis=1, keepdims=True))

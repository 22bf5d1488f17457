"""Inputs and labels handed in apart, `(X, y)`: joined row by row, whatever types they have.

Rows belong together by position, as every library that fits models takes them, and never by the
labels of an index: after `train_test_split` or `sample(frac=1)` those stand in another order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from dataaudit.datasets.memory import ArrayPair, Frame, Pairs
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError
from dataaudit.labels.values import IGNORED, UNUSABLE

TEXT_COLUMN = "text"
"""What the only column is called where the inputs are a list of texts."""
MOST_DENSE_VALUES = 2**28
"""A sparse matrix of more places is refused: every row is looked at with its zeros."""


def is_pair(candidate: object) -> bool:
    """Tell whether this is `(X, y)`: a tuple of two things that have rows."""
    return isinstance(candidate, tuple) and len(candidate) == 2 and all(map(_has_rows, candidate))


def without_labels(candidate: Any, role: str) -> Any:
    """Return the inputs where they come alone, or as `(X, None)`; else None.

    Raises
    ------
    DataError
        They are no suspects, which alone need no labels.
    """
    inputs = candidate
    if isinstance(candidate, tuple) and len(candidate) == 2 and candidate[1] is None:
        inputs = candidate[0]
    elif not (hasattr(candidate, "shape") or isinstance(candidate, pd.Series | pd.Index)):
        texts = candidate if isinstance(candidate, list) else []
        if not texts or not all(isinstance(text, str) for text in texts):
            return None
    if not _has_rows(inputs):
        return None
    if role != "suspects":
        raise DataError(
            f"{role}: found inputs without labels ({type(candidate).__name__}); expected (X, y), "
            "or a data frame with a column of labels"
        )
    return inputs


def joined(
    pair: tuple[Any, Any | None], settings: ReadSettings
) -> tuple[ColumnSource | Pairs, ReadSettings]:
    """Return `(X, y)` as a source of rows, and the settings to read it by.

    Parameters
    ----------
    pair : (X, y)
        X: a data frame, a list or series of texts, an array, a sparse matrix, a tensor, or
        anything that gives an input for a position. y: a series, array, tensor, list or column of
        as many labels; of label sets also a matrix of 0 and 1, one column for each label. None:
        there are no labels.
    settings : ReadSettings

    Returns
    -------
    source
        With columns where X is a frame, or holds texts; else pairs.
    ReadSettings
        Its label is the column that holds y.

    Raises
    ------
    DataError
        X and y have different lengths, or one index in two orders.
    """
    inputs, labels = pair
    role = settings.role
    rows = _rows(inputs)
    if settings.kind.read_columns is not None and len(getattr(labels, "shape", ())) == 2:
        labels, settings = _sets_of_matrix(labels, settings)
    if settings.kind.per_pixel and labels is not None:
        labels = list(labels)
    column = None if labels is None else _column(labels, role)
    if rows == 0:
        raise DataError(f"{role} (X, y): there are no rows")
    if column is not None and rows != len(column):
        raise DataError(
            f"{role}: expected as many labels as inputs, found {rows} inputs and"
            f" {len(column)} labels"
        )
    description = f"{role} (X, y)"
    if isinstance(inputs, pd.DataFrame):
        _refuse_two_orders(inputs, labels, role)
        return _with_labels(Frame(description, inputs), column, settings)
    texts = _texts(inputs)
    if texts is not None:
        index = inputs.index if isinstance(inputs, pd.Series) else None
        frame = pd.DataFrame({TEXT_COLUMN: pd.Series(texts, index=index, dtype=object)})
        return _with_labels(Frame(description, frame), column, settings)
    known = None if column is None else column.tolist()
    return Pairs(description, ArrayPair(_by_position(inputs, role), known, rows)), settings


def _sets_of_matrix(labels: Any, settings: ReadSettings) -> tuple[Any, ReadSettings]:
    """Return the sets of a 0/1 matrix, each as a list of names, and settings that name them all.

    Parameters
    ----------
    labels : `[rows, L]`
        A frame, whose columns name the labels where the settings do not; an array, a tensor, or a
        sparse matrix.
    settings : ReadSettings

    Raises
    ------
    DataError
        A value is neither 0 nor 1, or the classes are more or fewer than the columns.
    """
    where = f"{settings.role} (X, y)"
    if sparse.issparse(labels):
        _refuse_too_wide(labels, settings.role, "labels")
        labels = labels.toarray()
    index = None
    if isinstance(labels, pd.DataFrame):
        index = labels.index
    elif hasattr(labels, "detach"):
        labels = labels.detach().cpu().numpy()
    table = pd.DataFrame(labels).reset_index(drop=True)
    names = settings.output_names
    if names is not None and len(names) == table.shape[1]:
        table = table.set_axis(list(names), axis=1)
    kind = settings.kind
    assert kind.read_columns is not None
    members, classes = kind.read_columns(table, np.arange(len(table)), where, settings.reading())
    sets: list[Any] = [
        settings.ignore
        if row[0] == IGNORED
        else None
        if row[0] == UNUSABLE
        else [classes[place] for place in np.flatnonzero(row).tolist()]
        for row in members
    ]
    found = sets if index is None else pd.Series(sets, index=index, dtype=object)
    return found, replace(settings, classes=list(classes))


def _with_labels(
    source: Frame, labels: pd.Series | None, settings: ReadSettings
) -> tuple[ColumnSource, ReadSettings]:
    if settings.label is None or labels is None:
        return source, settings
    name = settings.label if isinstance(settings.label, str) else "label"
    while name in source.frame.columns:
        name += "_"
    frame = source.frame.copy(deep=False)
    frame[name] = labels.set_axis(frame.index)
    return Frame(source.description, frame), replace(settings, label=name)


def _has_rows(candidate: object) -> bool:
    if isinstance(candidate, str | bytes | dict):
        return False
    return hasattr(candidate, "__len__") or hasattr(candidate, "shape")


def _rows(values: Any) -> int:
    # Sparse matrices have no length.
    return int(values.shape[0]) if hasattr(values, "shape") else len(values)


def _column(labels: Any, role: str) -> pd.Series:
    """Return labels as a series in their order, its index 0, 1, 2, …"""
    if isinstance(labels, pd.DataFrame) and labels.shape[1] == 1:
        labels = labels.iloc[:, 0]
    if isinstance(labels, pd.Series):
        return labels.reset_index(drop=True)
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu().numpy()
    if sparse.issparse(labels):
        labels = labels.toarray()
    if hasattr(labels, "shape") and len(labels.shape) == 2 and labels.shape[1] == 1:
        labels = np.asarray(labels).reshape(-1)
    if hasattr(labels, "shape") and len(labels.shape) != 1:
        raise DataError(
            f"{role}: expected one label for each row, found an array of shape"
            f" {tuple(labels.shape)}"
        )
    if isinstance(labels, list | tuple):
        values = np.empty(len(labels), dtype=object)
        for row, value in enumerate(labels):
            values[row] = value
        return pd.Series(values)
    return pd.Series(labels).reset_index(drop=True)


def _texts(inputs: Any) -> list[Any] | None:
    """Return inputs as a list where they are texts, some of which may be missing."""
    if isinstance(inputs, list | tuple | pd.Series | pd.Index):
        values = list(inputs)
    elif isinstance(inputs, np.ndarray) and inputs.ndim == 1 and inputs.dtype.kind in "OUT":
        values = inputs.tolist()
    else:
        return None
    present = [value for value in values if not _is_missing(value)]
    return values if present and all(isinstance(value, str) for value in present) else None


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


class _SparseRows:
    """The rows of a sparse matrix, each with its zeros."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix.tocsr()

    def __getitem__(self, position: int) -> Any:
        return self._matrix[[position]].toarray()[0]


def _by_position(inputs: Any, role: str) -> Any:
    """Return what gives an input for a position."""
    if sparse.issparse(inputs):
        _refuse_too_wide(
            inputs,
            role,
            "inputs",
            "; hand in the texts and a pipeline whose first step is the vectorizer",
        )
        return _SparseRows(inputs)
    if isinstance(inputs, pd.Series | pd.Index):
        return inputs.to_numpy()
    if isinstance(inputs, list | tuple) and isinstance(inputs[0], list | tuple):
        # Lists of numbers are rows of a table; anything else stays what it is.
        values = np.asarray(inputs) if len({len(row) for row in inputs}) == 1 else np.zeros(0)
        return values if values.ndim > 1 and values.dtype.kind in "biuf" else inputs
    return inputs


def _refuse_too_wide(matrix: Any, role: str, what: str, advice: str = "") -> None:
    if matrix.shape[0] * matrix.shape[1] > MOST_DENSE_VALUES:
        raise DataError(
            f"{role}: {what}: a sparse matrix of {matrix.shape[0]} rows and {matrix.shape[1]} "
            f"columns is too wide to be looked at row by row{advice}"
        )


def _refuse_two_orders(inputs: pd.DataFrame, labels: Any, role: str) -> None:
    """Refuse a frame and a series whose indexes are the same but for the order."""
    if not isinstance(labels, pd.Series | pd.DataFrame):
        return
    own, other = inputs.index, labels.index
    if isinstance(own, pd.RangeIndex) or own.equals(other) or len(own) != len(other):
        return
    # Asked of each other, because an index of numbers and texts cannot be sorted.
    if own.is_unique and other.is_unique and bool(own.isin(other).all()):
        raise DataError(
            f"{role}: X and y have the same index in two orders, and rows belong together by "
            "position; hand in y.loc[X.index], or both without an index"
        )

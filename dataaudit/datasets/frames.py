"""Data frames cut to length, and Arrow tables as ordinary pandas, alike in every block."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.errors import DataError

TEXT = pd.Series([""]).dtype
"""The dtype pandas gives text: `str` from pandas 3 on, `object` before."""

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")


def rechunk(frames: Iterable[pd.DataFrame], rows_per_frame: int) -> Iterator[pd.DataFrame]:
    """Yield the rows of `frames` in order, exactly `rows_per_frame` at a time but for the last.

    The index of what is yielded is the position of each row: 0, 1, 2, …
    """
    if rows_per_frame < 1:
        raise ValueError(f"rows_per_frame must be at least 1, not {rows_per_frame}")
    start = 0
    waiting: list[pd.DataFrame] = []
    rows_waiting = 0
    for frame in frames:
        begin = 0
        while rows_waiting + len(frame) - begin >= rows_per_frame:
            end = begin + rows_per_frame - rows_waiting
            waiting.append(frame.iloc[begin:end])
            yield _joined(waiting, start)
            start += rows_per_frame
            waiting, rows_waiting, begin = [], 0, end
        if begin < len(frame):
            waiting.append(frame.iloc[begin:])
            rows_waiting += len(frame) - begin
    if waiting:
        yield _joined(waiting, start)


def block_starts(counts: Sequence[int]) -> NDArray[np.int64]:
    """Return the position of the first row of each block, then the number of rows."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def pick(
    starts: NDArray[np.int64],
    positions: Sequence[int],
    read: Callable[[int, NDArray[np.int64]], pd.DataFrame],
) -> pd.DataFrame:
    """Return the rows at `positions`, in that order, index = positions.

    Parameters
    ----------
    starts : int64 `[blocks + 1]`
        The position of the first row of each block, then the number of rows.
    positions : sequence of int
        0-based, in any order, repeated or not.
    read : function of (block, rows) to pandas.DataFrame
        Returns the rows, counted from the start of the block and ascending, of one block. Each
        block is read once at most.
    """
    wanted, place = np.unique(np.asarray(positions, dtype=np.int64), return_inverse=True)
    if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < starts[-1]:
        raise IndexError(f"positions must lie in 0..{starts[-1] - 1}")
    of_row = np.searchsorted(starts, wanted, side="right") - 1
    blocks = np.unique(of_row) if len(wanted) else [0]
    parts = [read(int(block), wanted[of_row == block] - starts[block]) for block in blocks]
    chosen = pd.concat(parts).iloc[place]
    chosen.index = pd.Index(wanted[place], dtype=np.int64)
    return chosen


def _joined(parts: list[pd.DataFrame], start: int) -> pd.DataFrame:
    frame = pd.concat(parts) if len(parts) > 1 else parts[0].copy(deep=False)
    frame.index = pd.RangeIndex(start, start + len(frame))
    return frame


def column_names(schema: pa.Schema, description: str) -> list[str]:
    """Return the columns of an Arrow schema that a user sees.

    pandas stores an index without a name as `__index_level_0__`; a model was never trained on
    it, so that it is left out.

    Raises
    ------
    DataError
        When two columns have the same name.
    """
    names = [name for name in schema.names if not _UNNAMED_INDEX.fullmatch(name)]
    refuse_repeated(names, description)
    return names


def refuse_repeated(names: Sequence[object], description: str) -> None:
    """Raise a `DataError` when a column name occurs twice."""
    seen = set()
    for name in names:
        if name in seen:
            raise DataError(f"{description}: two columns are called {name!r}; rename one")
        seen.add(name)


def may_change_type(field: pa.Field) -> bool:
    """Tell whether pandas holds this column in another type when a value is missing."""
    kind = _plain_type(field.type)
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def plain_frame(table: pa.Table, with_missing: Collection[str]) -> pd.DataFrame:
    """Return an Arrow table as ordinary pandas: NumPy numbers, text, `bytes`, Python objects.

    Parameters
    ----------
    table : pyarrow.Table
        Any part of a file.
    with_missing : collection of str
        The integer and boolean columns in which a value is missing *somewhere in the file*.
        They become float64 and object in every part, so that no part differs in type.

    Raises
    ------
    pyarrow.ArrowException
        When the buffers are damaged: text that is not UTF-8, offsets that lead nowhere.
    """
    # Without the full check a damaged file would be read past the end of its buffers.
    table.validate(full=True)
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = _plain_type(column.type)
        if pa.types.is_integer(kind) and name in with_missing:
            column = column.cast(kind, safe=False)
            kind = pa.float64()
        if column.type != kind:
            column = column.cast(kind, safe=False)
        series = column.to_pandas()
        if pa.types.is_boolean(kind) and name in with_missing:
            series = series.astype(object)
        columns[name] = series
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type to hold a column in that pandas has an ordinary dtype for."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        # As categories they would differ from block to block.
        return _plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    return kind

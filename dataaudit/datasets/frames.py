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


def spread(rows: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` positions, evenly spread over the rows."""
    return np.unique(np.linspace(0, rows - 1, min(most, rows)).astype(np.int64))


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
    wanted, place = distinct(positions, int(starts[-1]))
    parts = [read(block, rows) for block, rows in by_block(starts, wanted)]
    return in_order(pd.concat(parts), wanted, place)


def distinct(positions: Sequence[int], rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions ascending, each once, and the place among them of each that was given.

    Raises
    ------
    IndexError
        A position lies outside 0..`rows` - 1.
    """
    wanted, place = np.unique(np.asarray(positions, dtype=np.int64), return_inverse=True)
    if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < rows:
        raise IndexError(f"positions must lie in 0..{rows - 1}")
    return wanted, place


def by_block(
    starts: NDArray[np.int64], wanted: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the blocks that hold some rows, and these rows, counted from the block's start.

    Without any row it is the first block and none of its rows, so that the columns are known.
    """
    of_row = np.searchsorted(starts, wanted, side="right") - 1
    blocks = np.unique(of_row) if len(wanted) else np.zeros(1, dtype=np.int64)
    bounds = np.searchsorted(of_row, [blocks, blocks + 1])
    for block, low, high in zip(blocks.tolist(), *bounds.tolist(), strict=True):
        yield block, wanted[low:high] - starts[block]


def in_order(
    frame: pd.DataFrame, wanted: NDArray[np.int64], place: NDArray[np.int64]
) -> pd.DataFrame:
    """Return the rows of `frame`, one for each of `wanted`, at `place`, index = positions."""
    chosen = frame.iloc[place]
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
    plain = plain_table(table, with_missing)
    columns = {}
    for name, column in zip(plain.column_names, plain.columns, strict=True):
        series = column.to_pandas()
        if pa.types.is_boolean(column.type) and name in with_missing:
            series = series.astype(object)
        columns[name] = series
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))


def plain_table(table: pa.Table, with_missing: Collection[str]) -> pa.Table:
    """Return the table with its columns in the types that `plain_frame` gives pandas.

    Parameters and errors are those of `plain_frame`.
    """
    # Without the full check a damaged file would be read past the end of its buffers.
    table.validate(full=True)
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = _plain_type(column.type)
        if pa.types.is_integer(kind) and name in with_missing:
            column = column.cast(kind, safe=False)
            kind = pa.float64()
        columns[name] = column if column.type == kind else column.cast(kind, safe=False)
    return pa.table(columns)


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

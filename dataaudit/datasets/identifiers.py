"""Row ids: the id column in its own type, or positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.samples import Source
from dataaudit.errors import DataError

_SHOWN = 3


def positions(source: Source) -> NDArray[np.int64]:
    """Return the positions of all rows, which are their ids where no column holds ids.

    Raises
    ------
    DataError
        When there are no rows.
    """
    if len(source) == 0:
        raise DataError(f"{source.description}: there are no rows")
    return np.arange(len(source), dtype=np.int64)


def row_ids(values: pd.Series, *, where: str) -> NDArray[Any]:
    """Return the ids of all rows.

    Parameters
    ----------
    values : pandas.Series `[n]`
        The id column as the file has it.
    where : str
        The file and the column, for errors.

    Returns
    -------
    int64 `[n]`, or object `[n]` of str

    Raises
    ------
    DataError
        When an id is missing, is neither a whole number nor text, or occurs twice.
    """
    empty = values.map(lambda value: isinstance(value, str) and value == "").astype(bool)
    missing = np.flatnonzero(values.isna() | empty)
    if len(missing):
        rows = ", ".join(str(row) for row in missing[:_SHOWN])
        raise DataError(
            f"{where}: the id is missing in {_count(len(missing), 'row')}"
            f" (row {rows}{_more(len(missing))}); expected one in every row"
        )
    ids = _in_own_type(values, where)
    repeated = pd.Series(ids).duplicated().to_numpy()
    if repeated.any():
        again = np.flatnonzero(repeated)
        first = {ids[row]: int(np.flatnonzero(ids == ids[row])[0]) for row in again[:_SHOWN]}
        pairs = ", ".join(
            f"{ids[row]!s} (rows {first[ids[row]]} and {row})" for row in again[:_SHOWN]
        )
        raise DataError(f"{where}: ids must be unique; repeated: {pairs}{_more(len(again))}")
    return ids


def _in_own_type(values: pd.Series, where: str) -> NDArray[Any]:
    if pd.api.types.is_bool_dtype(values.dtype):
        raise DataError(f"{where}: ids must be whole numbers or text, found true/false")
    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = values.to_numpy()
        with np.errstate(invalid="ignore"):
            whole = numbers.astype(np.int64)
        inexact = np.zeros(len(numbers), dtype=bool)
        if numbers.dtype.kind == "f":
            # From there on (2**53 of 64 bits) a float no longer tells a number from the next.
            inexact = np.abs(numbers) > 2.0 ** (np.finfo(numbers.dtype).nmant + 1)
        wrong = np.flatnonzero((whole != numbers) | inexact)
        if len(wrong):
            row = int(wrong[0])
            raise DataError(
                f"{where}: row {row}: ids must be whole numbers (64 bits) or text, found"
                f" {numbers[row]!s}"
            )
        return np.array(whole)
    ids = values.to_numpy(dtype=object)
    if all(_is_whole(identity) for identity in ids):
        return np.array([int(identity) for identity in ids], dtype=np.int64)
    for row, identity in enumerate(ids):
        if not isinstance(identity, str):
            raise DataError(
                f"{where}: row {row}: ids must be all whole numbers or all text, found"
                f" {type(identity).__name__} {str(identity)[:40]!r}"
            )
    return np.array(ids)


def _is_whole(identity: Any) -> bool:
    if isinstance(identity, bool) or not isinstance(identity, int | np.integer):
        return False
    return -(2**63) <= int(identity) < 2**63


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _more(count: int) -> str:
    return ", ..." if count > _SHOWN else ""

"""Rows that repeat each other, value for value, under several labels: one at least is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.images import encoded
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.words import is_list, text_of
from dataaudit.likeness.meaning import cells_of
from dataaudit.storage.on_disk import one_array
from dataaudit.storage.same_keys import SameKeys

ROWS_PER_READ = 8192
MOST_NATURAL = 0.05
"""Share of rows with the values of another one, above which repeated values say little: columns
such as age and sex are shared by people who differ."""


def contradicted(train: Samples) -> NDArray[np.bool_]:
    """Tell which rows have a label that identical rows outvote, bool `[rows]`.

    Of a tie, all but the first label count.

    Parameters
    ----------
    train : Samples
        With one class for each row.
    """
    same = SameKeys(row_hashes(train, content_columns(train)))
    found = np.zeros(same.rows, dtype=bool)
    if train.modality == "table" and same.repeated().mean() > MOST_NATURAL:
        return found
    for rows, groups in same:
        found[rows] = outvoted(groups, train.labels[rows])
    return found


def outvoted(groups: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which rows have a label that fewer of their group have than another.

    Parameters
    ----------
    groups : int64 `[rows]`
        Which rows are identical.
    labels : int64 `[rows]`
    """
    votes = pd.DataFrame({"group": groups, "label": labels})
    counts = votes.groupby(["group", "label"], sort=False).size()
    # The first label of a tie was given first; which of the two is wrong cannot be told.
    best = dict(counts.groupby(level="group", sort=False).idxmax().to_list())
    return votes["group"].map(best).to_numpy() != labels


def content_columns(samples: Samples) -> list[Any]:
    """Return the columns that hold what a row is: neither label, nor id, nor group."""
    if samples.content_column is not None:
        return [samples.content_column]
    special = samples.special_columns()
    return [name for name in samples.take([0]).frame.columns if name not in special]


def row_hashes(samples: Samples, columns: list[Any]) -> NDArray[np.uint64]:
    """Return `content_hashes` of all rows, which are read once, a block at a time.

    On disk where there are many.
    """
    frames = samples.source.frames(ROWS_PER_READ)
    return one_array(content_hashes(samples, frame[columns]) for frame in frames)


def content_hashes(samples: Samples, frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Return 64 bits for each row that two rows share only if their content is the same.

    Letters of either case, repeated blanks, and 3 and 3.0 are the same.

    Parameters
    ----------
    samples : Samples
        Where the rows are from.
    frame : pandas.DataFrame
        Rows of it with the columns to compare, from `content_columns`.

    Raises
    ------
    DataError
        A picture cannot be read.
    """
    parts = {place: _values(samples, frame.iloc[:, place]) for place in range(frame.shape[1])}
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(parts), index=False), np.uint64)


def _values(samples: Samples, column: pd.Series) -> NDArray[Any]:
    """Return a column as numbers: float64, or of anything else a hash."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        # Adding zero turns -0.0 into 0.0.
        return column.to_numpy(np.float64, na_value=np.nan) + 0.0
    if samples.modality in ("image", "tensor"):
        return _digests([_content(samples, value) for value in column])
    cells = cells_of(column.map(lambda value: text_of(value) if is_list(value) else value))
    return pd.util.hash_array(cells)


def _content(samples: Samples, value: Any) -> bytes:
    if samples.modality == "image":
        return encoded(value, where=samples.source.description, folder=samples.folder)
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.dtype == object:
        return repr(value).encode("utf-8", "surrogatepass")
    return str(array.shape).encode() + array.tobytes()


def _digests(contents: Sequence[bytes]) -> NDArray[np.uint64]:
    found = [blake2b(content, digest_size=8).digest() for content in contents]
    return np.frombuffer(b"".join(found), np.uint64)

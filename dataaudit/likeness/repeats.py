"""Rows of the same content: hashed alike, and those whose labels then differ."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.frames import spread
from dataaudit.datasets.images import encoded
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.words import text_of

ROWS_PER_READ = 2048
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
    columns = content_columns(train)
    if not columns:
        return np.zeros(len(train), dtype=bool)
    keys = content_hashes(train, columns)
    groups, sizes = np.unique(keys, return_inverse=True, return_counts=True)[1:]
    if train.modality == "table" and (sizes[groups] > 1).mean() > MOST_NATURAL:
        return np.zeros(len(keys), dtype=bool)
    return outvoted(groups, train.labels)


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
    return np.array([best[group] != label for group, label in zip(groups, labels, strict=True)])


def content_columns(samples: Samples) -> list[Any]:
    """Return the columns that make up the content: neither label, id nor group."""
    if samples.content_column is not None:
        return [samples.content_column]
    special = samples.special_columns()
    return [name for name in samples.take([0]).frame.columns if name not in special]


def content_hashes(
    samples: Samples, columns: list[Any], most: int | None = None
) -> NDArray[np.uint64]:
    """Return 64-bit hashes that rows of the same content share, uint64 `[rows]`.

    The same content: the same numbers, the same words up to case and white space, the same bytes
    of a picture.

    Parameters
    ----------
    samples : Samples
    columns : list
        One at least.
    most : int or None
        So many rows are read, evenly spread; None: all.

    Raises
    ------
    DataError
        A picture cannot be read.
    """
    hashes = []
    for frame in _frames(samples, most):
        parts = {place: _values(samples, frame[name]) for place, name in enumerate(columns)}
        found = pd.util.hash_pandas_object(pd.DataFrame(parts), index=False)
        hashes.append(found.to_numpy(np.uint64))
    return np.concatenate(hashes)


def _frames(samples: Samples, most: int | None) -> Iterator[pd.DataFrame]:
    if most is None or most >= len(samples):
        yield from (batch.frame for batch in samples.batches(ROWS_PER_READ))
        return
    positions = spread(len(samples), most)
    for start in range(0, len(positions), ROWS_PER_READ):
        yield samples.take(positions[start : start + ROWS_PER_READ]).frame


def _values(samples: Samples, column: pd.Series) -> NDArray[Any]:
    """Return a column as numbers: float64, or of anything else a hash."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        # Adding zero turns -0.0 into 0.0.
        return column.to_numpy(np.float64, na_value=np.nan) + 0.0
    hashes = [_hash(samples, value) for value in column]
    return np.array(hashes, dtype=np.uint64)


def _hash(samples: Samples, value: Any) -> int:
    if samples.modality == "image":
        content = encoded(value, where=samples.source.description, folder=samples.folder)
    elif samples.modality == "tensor":
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        content = str(array.shape).encode() + array.tobytes()
        if array.dtype == object:
            content = repr(value).encode("utf-8", "surrogatepass")
    else:
        words = " ".join(text_of(value).split()).casefold()
        content = words.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")

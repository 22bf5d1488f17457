"""Trusted samples that stand in the training set: the model has seen them, so they prove nothing.

Compared is the content alone, by a 64-bit hash: columns that are neither label, id nor group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.images import encoded
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.words import text_of
from dataaudit.errors import DataError

ROWS_PER_READ = 2048
MOST_COSTLY_ROWS = 20_000
"""Training rows that are compared where a row is an image or a tensor, evenly spread where there
are more; tables and texts are compared whole."""
BY_NATURE = 1 / 3
"""Where training rows repeat each other at least this often, measured by how often trusted
samples repeat them, it is the nature of the rows and no mistake."""

REASON = "its content is that of a training row, so it is not trusted"


@dataclass(frozen=True)
class RepeatedRows:
    """What trusted samples and training rows have in common.

    Attributes
    ----------
    lines : int64 `[n]`, ascending
        Positions of trusted samples whose content is that of a training row.
    train_repeats : float
        Share of training rows whose content is that of another training row.
    by_nature : bool
        Whether training rows repeat each other so often that trusted ones must, too.
    """

    lines: NDArray[np.int64]
    train_repeats: float
    by_nature: bool


def repeated_rows(train: Samples, held_out: Samples) -> RepeatedRows:
    """Find the trusted samples that are identical to training rows.

    Memory holds 8 bytes for each row that is compared.

    Parameters
    ----------
    train, held_out : Samples
    """
    columns = _compared(train, held_out)
    if not columns:
        return RepeatedRows(np.zeros(0, dtype=np.int64), 0.0, by_nature=False)
    try:
        trusted = np.concatenate(list(_hashes(held_out, columns, len(held_out))))
        known = np.concatenate(list(_hashes(train, columns, _most(train))))
    except DataError:
        # What cannot be read is named where it is read in earnest.
        return RepeatedRows(np.zeros(0, dtype=np.int64), 0.0, by_nature=False)
    distinct, counts = np.unique(known, return_counts=True)
    repeats = float(counts[counts > 1].sum() / len(known))
    lines = np.flatnonzero(np.isin(trusted, distinct)).astype(np.int64)
    by_nature = len(lines) > 0 and repeats >= BY_NATURE * len(lines) / len(trusted)
    return RepeatedRows(lines, repeats, by_nature)


def _most(train: Samples) -> int:
    return MOST_COSTLY_ROWS if train.modality in ("image", "tensor") else len(train)


def _compared(train: Samples, held_out: Samples) -> list[Any]:
    if train.modality != held_out.modality:
        return []
    if train.content_column is not None:
        return [train.content_column] if train.content_column == held_out.content_column else []
    special = train.special_columns() | held_out.special_columns()
    others = set(held_out.take([0]).frame.columns)
    features = [name for name in train.take([0]).frame.columns if name not in special]
    return features if others.issuperset(features) else []


def _hashes(samples: Samples, columns: list[Any], most: int) -> Iterator[NDArray[np.uint64]]:
    positions = np.unique(np.linspace(0, len(samples) - 1, min(most, len(samples))).astype(int))
    for start in range(0, len(positions), ROWS_PER_READ):
        frame = samples.source.take(positions[start : start + ROWS_PER_READ].tolist())[columns]
        parts = {place: _values(samples, frame.iloc[:, place]) for place in range(len(columns))}
        yield pd.util.hash_pandas_object(pd.DataFrame(parts), index=False).to_numpy(np.uint64)


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
        content = text_of(value).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")

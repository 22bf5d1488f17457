"""Rows that repeat each other, value for value, under several labels: one at least is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples

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
    keys = np.array(list(row_keys(train)), dtype=object)
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


def row_keys(samples: Samples) -> Iterator[bytes]:
    """Yield 16 bytes for each row that two rows share only if their content is the same."""
    special = samples.special_columns()
    for batch in samples.batches(ROWS_PER_READ):
        names = [samples.content_column] if samples.content_column else batch.frame.columns
        columns = [batch.frame[name] for name in names if name not in special]
        for values in zip(*columns, strict=True):
            digest = blake2b(digest_size=16)
            for value in map(_as_bytes, values):
                digest.update(len(value).to_bytes(8, "little") + value)
            yield digest.digest()


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return _as_bytes(value.get("bytes") or repr(value))
    if isinstance(value, np.ndarray):
        return repr(value.shape).encode() + np.ascontiguousarray(value).tobytes()
    if isinstance(value, (int, float, np.number)):
        return repr(float(value)).encode()
    if hasattr(value, "tobytes"):
        return bytes(value.tobytes())
    return " ".join(str(value).split()).casefold().encode("utf-8", "surrogatepass")

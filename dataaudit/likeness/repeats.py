"""Rows that repeat each other, value for value: facts about labels that need no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Repeats:
    """What repeats what.

    Attributes
    ----------
    contradicted : bool `[rows]`
        Rows whose label is outvoted by identical rows; of a tie, all but the first label's.
    trusted : int
        Trusted samples that are identical to a training row.
    expected : float
        How many would be, if trusted samples repeated rows as often as rows repeat each other.
    """

    contradicted: NDArray[np.bool_]
    trusted: int = 0
    expected: float = 0.0


def find_repeats(train: Samples, held_out: Samples | None) -> Repeats:
    """Find rows of one content under several labels, and trusted samples that are rows.

    Parameters
    ----------
    train : Samples
        With one class for each row.
    held_out : Samples or None
    """
    columns = _columns(train, held_out)
    keys = np.array(list(_keys(train, columns)), dtype=object)
    groups, sizes = np.unique(keys, return_inverse=True, return_counts=True)[1:]
    natural = float((sizes[groups] > 1).mean())
    contradicted = np.zeros(len(keys), dtype=bool)
    if natural <= MOST_NATURAL or train.modality != "table":
        contradicted = outvoted(groups, train.labels)
    if held_out is None:
        return Repeats(contradicted)
    known = set(keys.tolist())
    trusted = sum(key in known for key in _keys(held_out, columns))
    return Repeats(contradicted, trusted, natural * len(held_out))


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


def _columns(train: Samples, held_out: Samples | None) -> Sequence[str]:
    if train.content_column is not None:
        return [train.content_column]
    shared = [name for name in train.take([0]).frame.columns if name not in train.special_columns()]
    if held_out is None:
        return shared
    known = held_out.take([0]).frame.columns
    return [name for name in shared if name in known]


def _keys(samples: Samples, columns: Sequence[str]) -> Iterator[bytes]:
    for batch in samples.batches(ROWS_PER_READ):
        parts = [[_as_bytes(value) for value in batch.frame[name]] for name in columns]
        for values in zip(*parts, strict=True):
            digest = blake2b(digest_size=16)
            for value in values:
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

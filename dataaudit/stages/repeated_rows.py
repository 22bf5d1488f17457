"""Trusted samples that are training rows, too: the model has seen them, so they prove nothing.

Compared is the content alone (`dataaudit.likeness.repeats`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.datasets.frames import spread
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError
from dataaudit.likeness.identity import first_with
from dataaudit.likeness.repeats import ROWS_PER_READ, content_columns, content_hashes, row_hashes
from dataaudit.storage.on_disk import one_array
from dataaudit.storage.same_keys import SameKeys

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

    Parameters
    ----------
    train, held_out : Samples
    """
    columns = _compared(train, held_out)
    if not columns:
        return RepeatedRows(np.zeros(0, dtype=np.int64), 0.0, by_nature=False)
    try:
        trusted = row_hashes(held_out, columns)
        known = _hashes(train, columns)
    except DataError:
        # What cannot be read is named later, where the rows are used.
        return RepeatedRows(np.zeros(0, dtype=np.int64), 0.0, by_nature=False)
    repeats = float(np.count_nonzero(SameKeys(known).repeated()) / len(known))
    lines = np.flatnonzero(first_with(trusted, known) >= 0).astype(np.int64)
    by_nature = len(lines) > 0 and repeats >= BY_NATURE * len(lines) / len(trusted)
    return RepeatedRows(lines, repeats, by_nature)


def _compared(train: Samples, held_out: Samples) -> list[Any]:
    if train.modality != held_out.modality:
        return []
    special = held_out.special_columns()
    columns = [name for name in content_columns(train) if name not in special]
    return columns if set(held_out.take([0]).frame.columns).issuperset(columns) else []


def _hashes(train: Samples, columns: list[Any]) -> NDArray[np.uint64]:
    if train.modality not in ("image", "tensor") or len(train) <= MOST_COSTLY_ROWS:
        return row_hashes(train, columns)
    positions = spread(len(train), MOST_COSTLY_ROWS)
    parts = [positions[i : i + ROWS_PER_READ] for i in range(0, len(positions), ROWS_PER_READ)]
    frames = (train.source.take(part.tolist()) for part in parts)
    return one_array(content_hashes(train, frame[columns]) for frame in frames)

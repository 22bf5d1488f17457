"""Rows without labels: those of generative models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.labels.kind import Kind, Labels, Reading


def _read(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    return np.zeros(len(ids), dtype=np.int64), []


NO_LABELS = Kind(
    read=_read,
    shown=lambda labels, classes: labels,
    usable=lambda labels, classes: np.zeros(len(labels), dtype=bool),
    counts=lambda labels, classes, train: [],
    repeats=False,
    has_classes=False,
)
"""Every row has a 0, which says nothing."""

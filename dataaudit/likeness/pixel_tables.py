"""Tables whose columns are the pixels of small images: recognised, and described as images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.likeness.descriptors import ImageDescriptors
from dataaudit.likeness.images import describe_images
from dataaudit.likeness.meaning import numbers_of, picture_key


def pixel_grid(table: pd.DataFrame) -> tuple[int, int] | None:
    """Return (side, channels) if the columns are the pixels of square images, row by row.

    They are taken for pixels if there are side**2 or 3 * side**2 of them (side at least 6), all
    numeric on one common scale, and neighbours in the square correlate far more than others do.
    """
    for channels in (1, 3):
        side = round((table.shape[1] / channels) ** 0.5)
        if side >= 6 and side * side * channels == table.shape[1]:
            break
    else:
        return None
    if len(table) < 3 or not all(is_number_column(table[c]) for c in table.columns):
        return None
    values = table.iloc[:2000].to_numpy(np.float64)
    if not np.isfinite(values).all():
        return None
    used = values.std(0) > 0
    if used.mean() < 0.3:
        return None
    return (side, channels) if _is_smooth(values, used, side, channels) else None


def describe_pixel_table(
    table: pd.DataFrame, like: pd.DataFrame, grid: tuple[int, int]
) -> ImageDescriptors:
    """Describe rows of pixels as images, on the scale of the training table `like`."""
    side, channels = grid
    known = like.to_numpy(np.float64)
    low, high = known.min(), known.max()
    pixels = np.column_stack([numbers_of(table[name]) for name in table.columns])
    values = (pixels - low) / max(high - low, 1e-12)
    shape = (len(table), side, side, channels) if channels > 1 else (len(table), side, side)
    keys = [picture_key(row) for row in pixels]
    return describe_images(list(np.nan_to_num(values).clip(0, 1).reshape(shape)), keys)


def is_number_column(column: pd.Series) -> bool:
    """Tell whether a column holds numbers that may be near each other."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _is_smooth(values: NDArray[np.float64], used: NDArray[Any], side: int, channels: int) -> bool:
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.asarray(np.corrcoef(values.T))
    place = np.arange(side * side * channels).reshape(side, side, channels)
    pairs = [(place[:, :-1], place[:, 1:]), (place[:-1], place[1:])]
    valid = np.outer(used, used)
    scores = [correlation[a.ravel(), b.ravel()][valid[a.ravel(), b.ravel()]] for a, b in pairs]
    off_diagonal = valid & ~np.eye(len(used), dtype=bool)
    if not off_diagonal.any() or any(len(s) == 0 for s in scores):
        return False
    typical = np.abs(correlation[off_diagonal]).mean()
    return bool(min(float(np.mean(s)) for s in scores) > max(0.3, typical + 0.1))

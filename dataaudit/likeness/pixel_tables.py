"""Tables whose columns are the pixels of small images: recognised, and described as images."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Pixels:
    """What columns are the pixels of.

    Attributes
    ----------
    side, channels : int
        Of the square images.
    low, high : float
        The least and the largest number of all training rows.
    """

    side: int
    channels: int
    low: float
    high: float

    @classmethod
    def of(cls, first: pd.DataFrame, rest: Iterable[pd.DataFrame] = ()) -> Pixels | None:
        """Look at the first training rows, and where their columns are pixels at the others.

        Parameters
        ----------
        first : pandas.DataFrame
        rest : iterable of pandas.DataFrame
            With the same columns; gone through only where these are pixels.

        Returns
        -------
        None where they are not, see `pixel_grid`
        """
        grid = pixel_grid(first)
        if grid is None:
            return None
        low, high = np.inf, -np.inf
        for table in itertools.chain([first], rest):
            values = _numbers(table)
            # Further down, numbers may be missing.
            known = np.isfinite(values)
            low = float(values.min(initial=low, where=known))
            high = float(values.max(initial=high, where=known))
        return cls(*grid, low, high)

    def describe(self, table: pd.DataFrame) -> ImageDescriptors:
        """Describe rows of pixels as images; a pixel that is missing is as dark as any."""
        pixels = _numbers(table)
        values = (pixels - self.low) / max(self.high - self.low, 1e-12)
        colour = (self.channels,) if self.channels > 1 else ()
        shape = (len(table), self.side, self.side, *colour)
        keys = [picture_key(row) for row in pixels]
        return describe_images(list(np.nan_to_num(values).clip(0, 1).reshape(shape)), keys)


def _numbers(table: pd.DataFrame) -> NDArray[np.float64]:
    return np.column_stack([numbers_of(table[name]) for name in table.columns])


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

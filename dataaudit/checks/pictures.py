"""What can be measured of a picture: brightness, sharpness, how much is in it, its size."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from dataaudit.datasets.images import decode
from dataaudit.datasets.samples import Samples

FACTS = ("darkest", "brightness", "brightest", "sharpness", "entropy", "height", "width")
"""`darkest` and `brightest` are percentiles 1 and 99, and `brightness` the mean, from 0 to 1.
`sharpness` is the logarithm of the Laplacian's standard deviation, `entropy` that of grey values in
bits; sizes are in pixels."""
SIDE = 256
"""Larger pictures are looked at so small."""
PARTS = 4
"""Parts a side whose brightness is measured, too."""


def picture_facts(samples: Samples, frame: pd.DataFrame, *, parts: bool) -> NDArray[np.float64]:
    """Return `FACTS` of each picture, and the brightness of its parts, float64 `[rows, facts]`.

    Parameters
    ----------
    samples : Samples
        Whose rows these are.
    frame : pandas.DataFrame
    parts : bool
        Whether the brightness of parts is measured.

    Raises
    ------
    DataError
        A picture cannot be decoded.
    """
    where, column = samples.source.description, samples.content_column
    lines = []
    for position, value in frame[column].items():
        image = decode(value, where=f"{where}: row {position}", folder=samples.folder)
        lines.append(_facts(image, parts))
    return np.array(lines)


def _facts(image: Image.Image, parts: bool) -> list[float]:
    width, height = image.size
    grey = image.convert("L")
    grey.thumbnail((SIDE, SIDE))
    pixels = np.asarray(grey, np.float64) / 255
    counts = np.bincount(np.asarray(grey).ravel(), minlength=256)
    seen = counts[counts > 0] / pixels.size
    found = [
        _percentile(counts, 1),
        float(pixels.mean()),
        _percentile(counts, 99),
        float(np.log(_laplacian(pixels).std() + 1e-6)),
        float(-(seen * np.log2(seen)).sum()),
        float(height),
        float(width),
    ]
    if parts:
        small = grey.resize((PARTS, PARTS), Image.Resampling.BOX)
        found += (np.asarray(small, np.float64) / 255).ravel().tolist()
    return found


def _percentile(counts: NDArray[np.int64], percent: float) -> float:
    """Return `np.percentile` of the grey values counted, from 0 to 1; sorting takes far longer."""
    below = np.cumsum(counts)
    place = percent / 100 * (int(below[-1]) - 1)
    first, part = int(place), place % 1
    low, high = np.searchsorted(below, [first, min(first + 1, int(below[-1]) - 1)], side="right")
    return float(low + part * (high - low)) / 255


def _laplacian(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    if min(pixels.shape) < 3:
        return np.zeros(1)
    middle = pixels[1:-1, 1:-1]
    around = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:]
    return np.asarray(around - 4 * middle)

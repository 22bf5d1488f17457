"""What can be measured of a picture: brightness, sharpness, how much is in it, its size."""

from __future__ import annotations

from collections.abc import Iterator

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
PIXELS_PER_STEP = 2**18
"""Pictures of one size are measured together, so many pixels at once."""


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
    greys, sizes = [], []
    for position, value in frame[column].items():
        image = decode(value, where=f"{where}: row {position}", folder=samples.folder)
        sizes.append((float(image.height), float(image.width)))
        greys.append(_grey(image))
    found = np.empty((len(greys), len(FACTS) + PARTS**2 * parts))
    for places in _alike(greys):
        some = [greys[place] for place in places]
        pixels = np.stack([np.asarray(grey) for grey in some])
        found[places, : len(FACTS)] = _facts(pixels, np.array([sizes[place] for place in places]))
        if parts:
            found[places, len(FACTS) :] = [_parts(grey) for grey in some]
    return found


def _grey(image: Image.Image) -> Image.Image:
    grey = image.convert("L")
    grey.thumbnail((SIDE, SIDE))
    return grey


def _parts(grey: Image.Image) -> NDArray[np.float64]:
    return (np.asarray(grey.resize((PARTS, PARTS), Image.Resampling.BOX)) / 255.0).ravel()


def _alike(greys: list[Image.Image]) -> Iterator[list[int]]:
    """Yield the places of pictures of one size, few enough to be measured together."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, grey in enumerate(greys):
        by_size.setdefault(grey.size, []).append(place)
    for (width, height), places in by_size.items():
        step = max(1, PIXELS_PER_STEP // (width * height))
        for start in range(0, len(places), step):
            yield places[start : start + step]


def _facts(greys: NDArray[np.uint8], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `FACTS`, `[pictures, facts]`, of pictures `[pictures, height, width]`."""
    count, area = len(greys), greys[0].size
    pixels = greys / 255.0
    apart = greys.reshape(count, -1) + 256 * np.arange(count)[:, None]
    counts = np.bincount(apart.ravel(), minlength=256 * count).reshape(count, 256)
    shares = counts / area
    seen = np.where(shares > 0, shares, 1.0)
    return np.column_stack(
        [
            _percentiles(counts, 1),
            pixels.mean((1, 2)),
            _percentiles(counts, 99),
            np.log(_laplacians(pixels).std((1, 2)) + 1e-6),
            -(seen * np.log2(seen)).sum(1),
            sizes,
        ]
    )


def _percentiles(counts: NDArray[np.int64], percent: float) -> NDArray[np.float64]:
    """Return `np.percentile` of the grey values counted, `[pictures]` from 0 to 1.

    Sorting the values takes far longer. `counts` are `[pictures, 256]`, of as many values each.
    """
    below = np.cumsum(counts, axis=1)
    last = int(below[0, -1]) - 1
    first, part = divmod(percent / 100 * last, 1)
    low, high = ((below <= place).sum(axis=1) for place in (first, min(first + 1, last)))
    return np.asarray((low + part * (high - low)) / 255)


def _laplacians(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    if min(pixels.shape[1:]) < 3:
        return np.zeros((len(pixels), 1, 1))
    middle = pixels[:, 1:-1, 1:-1]
    down = pixels[:, :-2, 1:-1] + pixels[:, 2:, 1:-1]
    around = down + pixels[:, 1:-1, :-2] + pixels[:, 1:-1, 2:]
    return np.asarray(around - 4 * middle)

"""What can be measured of a picture: brightness, sharpness, how much is in it, its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataaudit.datasets.frames import spread
from dataaudit.datasets.samples import Role, Samples
from dataaudit.likeness.describing import decoded
from dataaudit.likeness.pictures import in_grey
from dataaudit.storage.on_disk import Growing

FACTS = ("darkest", "brightness", "brightest", "sharpness", "entropy", "height", "width")
"""`darkest` and `brightest` are percentiles 1 and 99, and `brightness` the mean, from 0 to 1.
`sharpness` is the logarithm of the Laplacian's standard deviation, `entropy` that of grey values in
bits; sizes are in pixels."""
SIDE = 256
"""Larger pictures are looked at so small."""
PARTS = 4
"""Parts a side whose brightness is measured, too."""
PICTURES_PER_STEP = 512
PIXELS_PER_STEP = 2**16
"""Pictures of one size are measured together, so many pixels at once."""


@dataclass(frozen=True)
class Measured:
    """What was measured of the pictures of a split.

    Attributes
    ----------
    facts : float64 `[pictures, FACTS]`
        On disk where there are many.
    positions : int64 `[chosen]`, ascending
        An even choice of the pictures.
    parts : float64 `[chosen, PARTS x PARTS]`
        How bright each part is of these, from 0 to 1, line by line.
    """

    facts: NDArray[np.float64]
    positions: NDArray[np.int64]
    parts: NDArray[np.float64]

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Return all that was measured of the chosen pictures, by its name, each `[chosen]`."""
        facts = dict(zip(FACTS, self.facts[self.positions].T, strict=True))
        return facts | {
            f"brightness of part {part}": values for part, values in enumerate(self.parts.T)
        }


class Pictures:
    """Measures the pictures of each split once, on the way of whatever decodes all of them.

    Parameters
    ----------
    most : int
        Pictures of a split whose parts are measured, too.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._measured: dict[Role, Measured] = {}

    def of(self, samples: Samples) -> Measured:
        """Return what was measured of a split; its pictures are decoded where nobody did.

        Raises
        ------
        DataError
            A picture cannot be decoded.
        """
        if samples.role not in self._measured:
            for _ in self.watch(samples, decoded(samples)):
                pass
        return self._measured[samples.role]

    def watch(self, samples: Samples, pictures: Iterator[Image.Image]) -> Iterator[Image.Image]:
        """Yield all pictures of a split, decoded, and measure them meanwhile."""
        if samples.role in self._measured:
            yield from pictures
            return
        facts, parts = Growing(), [np.empty((0, PARTS**2))]
        facts.add(np.empty((0, len(FACTS))))
        positions = spread(len(samples), self._most)
        chosen = frozenset(positions.tolist())
        waiting: list[_Small] = []
        for place, picture in enumerate(pictures):
            small = _Small.of(picture)
            waiting.append(small)
            if place in chosen:
                parts.append(_parts(small.grey)[None])
            if len(waiting) == PICTURES_PER_STEP:
                facts.add(_facts_of(waiting))
                waiting = []
            yield picture
        facts.add(_facts_of(waiting))
        self._measured[samples.role] = Measured(facts.finished(), positions, np.concatenate(parts))


@dataclass(frozen=True)
class _Small:
    """A picture in grey, no larger than `SIDE`, and its own height and width in pixels."""

    grey: Image.Image
    size: tuple[float, float]

    @classmethod
    def of(cls, picture: Image.Image) -> _Small:
        return cls(_grey(picture), (float(picture.height), float(picture.width)))


def _facts_of(pictures: Sequence[_Small]) -> NDArray[np.float64]:
    """Return `FACTS`, `[pictures, facts]`."""
    found = np.empty((len(pictures), len(FACTS)))
    for places in _alike([picture.grey for picture in pictures]):
        some = [pictures[place] for place in places]
        pixels = np.stack([np.asarray(picture.grey) for picture in some])
        found[places] = _facts(pixels, np.array([picture.size for picture in some]))
    return found


def _grey(image: Image.Image) -> Image.Image:
    grey = in_grey(image)
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

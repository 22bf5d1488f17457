"""Regions as Label Studio's brush has them, and back: runs of bytes, packed bit by bit.

The packing is that of label-studio-converter's `brush.py`: the count of values (32 bits), the
width of a value less 1 (5 bits), four widths of lengths less 1 (4 bits each); then, run by run,
whether it is a run of one value (1 bit), which width its length has (2 bits), the length less 1,
and the value, or as many values. The values are red, green, blue and opacity of each pixel, line by
line; a pixel with opacity is painted.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.config_values import MOST_PIXELS
from dataaudit.datasets.images import size_of
from dataaudit.labels.masks import Region, as_text, nearest, regions_of, whole_of

CHANNELS = 4
WIDTHS = (3, 4, 8, 16)
PAINTED = 255
PAINTED_BY_HAND = "painted"
"""What a region of a brush is called that it was before."""
_SIZE = re.compile(r"(\d+) x (\d+): ")


def size_of_mask(given: str) -> tuple[int, int] | None:
    """Return (height, width) of a mask by its text; None where a label is no mask."""
    found = _SIZE.match(given)
    return None if found is None else (int(found[2]), int(found[1]))


def brushed(given: str, suggested: str, image: str | None, name: str, shown: str) -> list[Any]:
    """Return the regions of a suggested mask as results of Label Studio's brush.

    Parameters
    ----------
    given, suggested : str
        The mask as tables show it, and what is meant instead.
    image : str or None
        The picture as it is exported, a data URI; the brush is of its size.
    name, shown : str
        What the brush, and the picture, are called in the configuration.
    """
    size = size_of_mask(given)
    if suggested == given or size is None or image is None:
        return []
    content = base64.b64decode(image.partition(",")[2])
    width, height = size_of(content, where="the exported picture")
    return [
        {
            "from_name": name,
            "to_name": shown,
            "type": "brushlabels",
            "original_width": width,
            "original_height": height,
            "value": {
                "format": "rle",
                "rle": packed(nearest(whole_of(region, size), (height, width))),
                "brushlabels": [region.name],
            },
        }
        for region in regions_of(suggested)
    ]


def painted(given: str, results: Sequence[Any]) -> str:
    """Return what a reviewer painted as a mask's text; nothing painted is the given mask.

    Raises
    ------
    ValueError
        A result is damaged; the message says how.
    """
    size = size_of_mask(given)
    regions = []
    for result in results:
        if size is None or not isinstance(result, Mapping) or result.get("type") != "brushlabels":
            continue
        value, sides = result.get("value"), []
        for key in ("original_height", "original_width"):
            if type(side := result.get(key)) is not int:
                raise ValueError(f"a brush has no {key}")
            sides.append(side)
        names = value.get("brushlabels") if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(names, list) or len(names) != 1:
            raise ValueError(f"expected one class for each brush, found {names!r}")
        pixels = nearest(unpacked(value.get("rle"), *sides), size)
        if pixels.any():
            regions.append(Region.of(pixels, PAINTED_BY_HAND, str(names[0])))
    return as_text(regions) if regions else given


def packed(painted: NDArray[np.bool_]) -> list[int]:
    """Return the pixels `[height, width]` that are painted, as a list of bytes."""
    values = np.repeat(painted.ravel(), CHANNELS)
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True)) + 1
    bits = [f"{len(values):032b}{7:05b}", *(f"{width - 1:04b}" for width in WIDTHS)]
    start, longest = 0, 2 ** WIDTHS[-1]
    for end in ends.tolist():
        value = f"{PAINTED if values[start] else 0:08b}"
        while start < end:
            length = min(end - start, longest)
            bits.append(f"111{length - 1:016b}{value}")
            start += length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[place : place + 8], 2) for place in range(0, len(text), 8)]


def unpacked(content: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Return the painted pixels, `[height, width]`.

    Raises
    ------
    ValueError
        It is no such list of bytes, or one of another size.
    """
    damaged = ValueError(f"the painted pixels are no brush of {width} x {height} pixels")
    right = isinstance(content, list) and all(
        type(byte) is int and 0 <= byte < 256 for byte in content
    )
    if not right or not 0 < height * width <= MOST_PIXELS:
        raise damaged
    bits = _Bits(content)
    count, value_width = bits.read(32), bits.read(5) + 1
    widths = [bits.read(4) + 1 for _ in range(4)]
    if count != height * width * CHANNELS or value_width > 8:
        raise damaged
    values = np.zeros(count, dtype=np.uint8)
    place = 0
    while place < count:
        if bits.left < 3:
            raise damaged
        alike = bits.read(1)
        stop = place + 1 + bits.read(widths[bits.read(2)])
        if alike:
            values[place:stop] = bits.read(value_width)
        else:
            found = [bits.read(value_width) for _ in range(place, min(stop, count))]
            values[place : place + len(found)] = found
        place = stop
    if bits.left < 0:
        raise damaged
    return np.asarray(values.reshape(height, width, CHANNELS)[:, :, CHANNELS - 1] > 0)


class _Bits:
    """Numbers of some bits each, read one after the other; 0 beyond the end."""

    def __init__(self, content: Sequence[int]) -> None:
        self._bits = np.unpackbits(np.array(content, dtype=np.uint8)).tolist()
        self._place = 0

    @property
    def left(self) -> int:
        """Bits that were not read yet."""
        return len(self._bits) - self._place

    def read(self, width: int) -> int:
        """Return the next number."""
        number = 0
        for bit in self._bits[self._place : self._place + width]:
            number = 2 * number + bit
        self._place += width
        return number

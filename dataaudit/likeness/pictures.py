"""Pictures as people see them: upright, with what is transparent on a plain ground, in 8 bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from dataaudit.likeness.meaning import picture_key

LIGHT = 170
"""What is lighter than this on average is laid on black, anything else on white."""
SIXTEEN_BITS = 65535
ORIENTATION, UPRIGHT = ExifTags.Base.Orientation, 1
PIXELS_AT_ONCE = 2**18
"""That are computed with at double precision, which takes eight times the room of 8 bits."""


def as_seen(image: Image.Image) -> tuple[NDArray[np.uint8], bytes]:
    """Return the picture, `[height, width]` or `[height, width, 3]`, and the key of its pixels.

    The orientation that a camera wrote beside the pixels is applied to both.
    """
    pixels = _pixels(_upright(image))
    return _seen(pixels), picture_key(pixels)


def in_grey(image: Image.Image) -> Image.Image:
    """Return the picture in 8 bits of grey, as it is stored: not turned."""
    if image.mode not in ("L", "RGB") or "transparency" in image.info:
        image = Image.fromarray(_seen(_pixels(image)))
    return image.convert("L")


def _upright(image: Image.Image) -> Image.Image:
    # What a stranger wrote there may be damaged in any way; the pixels are still good.
    try:
        # Asked first, because Pillow copies a picture that needs no turning.
        turned = image.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT
        return ImageOps.exif_transpose(image) or image if turned else image
    except Exception:
        return image


def _pixels(image: Image.Image) -> NDArray[Any]:
    """Return all that is stored of a picture: RGBA where any of it is transparent."""
    if image.mode.startswith("I") or image.mode == "F":
        return np.nan_to_num(np.asarray(image))
    if "A" in image.getbands() or "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _seen(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8:
        return _in_eight_bits(pixels)
    return _on_plain_ground(pixels) if pixels.shape[2:] == (4,) else pixels


def _in_eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if low >= 0 and 255 < high <= SIXTEEN_BITS:
        low, high = 0.0, float(SIXTEEN_BITS)
    elif low >= 0 and 1 < high <= 255:
        low, high = 0.0, 255.0
    scale = 255 / max(high - low, 1e-12)
    seen = np.empty(values.shape, np.uint8)
    for lines in _lines(values):
        seen[lines] = (values[lines].astype(np.float64) - low) * scale
    return seen


def _on_plain_ground(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    light, opaque = 0.0, 0.0
    for lines in _lines(pixels):
        alpha = pixels[lines, :, 3:] / 255
        light += float((pixels[lines, :, :3] * alpha).sum()) / 3
        opaque += float(alpha.sum())
    ground = 0.0 if opaque > 0 and light / opaque > LIGHT else 255.0
    seen = np.empty((*pixels.shape[:2], 3), np.uint8)
    for lines in _lines(pixels):
        alpha = pixels[lines, :, 3:] / 255
        seen[lines] = np.rint(pixels[lines, :, :3] * alpha + ground * (1 - alpha))
    return seen


def _lines(pixels: NDArray[Any]) -> Iterator[slice]:
    """Yield slices of a picture's lines, so that no copy of it has to be computed with."""
    step = max(1, PIXELS_AT_ONCE // pixels.shape[1])
    return (slice(start, start + step) for start in range(0, len(pixels), step))


def tensor_as_seen(array: NDArray[Any]) -> tuple[NDArray[np.float32], bytes]:
    """Return a tensor as a picture of numbers from 0 to 1, and the key of its values.

    Anything but a picture (volumes, many channels) is laid out flat.
    """
    values = np.asarray(array, dtype=np.float32)
    if values.ndim == 3 and values.shape[0] in (1, 3):
        values = values.transpose(1, 2, 0)
    if values.ndim != 2 and values.shape[2:] != (3,):
        values = values.reshape(len(values), -1)
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-12), picture_key(values)

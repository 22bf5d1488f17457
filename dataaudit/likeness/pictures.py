"""Pictures as people see them: upright, with what is transparent on a plain ground, in 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dataaudit.likeness.meaning import picture_key

LIGHT = 170
"""What is lighter than this on average is laid on black, anything else on white."""
SIXTEEN_BITS = 65535


def as_seen(image: Image.Image) -> tuple[NDArray[np.uint8], bytes]:
    """Return the picture, `[height, width]` or `[height, width, 3]`, and the key of its pixels.

    The orientation that a camera wrote beside the pixels is applied to both.
    """
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, np.float64))
        return _in_eight_bits(values), picture_key(values)
    transparent = "A" in image.getbands() or "transparency" in image.info
    if transparent:
        pixels = np.asarray(image.convert("RGBA"))
        return _on_plain_ground(pixels), picture_key(pixels)
    pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    return pixels, picture_key(pixels)


def _upright(image: Image.Image) -> Image.Image:
    # What a stranger wrote there may be damaged in any way; the pixels are still good.
    try:
        return ImageOps.exif_transpose(image) or image
    except Exception:
        return image


def _in_eight_bits(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if low >= 0 and 255 < high <= SIXTEEN_BITS:
        low, high = 0.0, float(SIXTEEN_BITS)
    elif low >= 0 and 1 < high <= 255:
        low, high = 0.0, 255.0
    return np.asarray((values - low) * (255 / max(high - low, 1e-12)), np.uint8)


def _on_plain_ground(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colour, alpha = pixels[..., :3].astype(np.float64), pixels[..., 3:] / 255
    seen = float(alpha.sum()) * 3
    ground = 0.0 if seen > 0 and float((colour * alpha).sum()) / seen > LIGHT else 255.0
    return np.asarray(np.rint(colour * alpha + ground * (1 - alpha)), np.uint8)


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

"""Pictures of what a diffusion model is given, for the report."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from torch import Tensor

SIDE = 96
"""Pixels a side on the page: larger images are shrunk to it."""


def picture(image: Tensor) -> str | None:
    """Return an image as a `data:image/webp;base64,…` URI; None where it cannot be shown.

    Parameters
    ----------
    image : `[channels, height, width]`
        One channel (grey) or three (red, green, blue). Values from -1 to 1, or from 0 to 1 where
        none is negative; anything else, such as a latent of four channels, is not shown.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        return None
    values = image.detach().float().cpu()
    if float(values.min()) < 0:
        values = (values + 1) / 2
    pixels = (values.clamp(0, 1) * 255).round().numpy().astype(np.uint8)
    shown = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    shown.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    # Lossless: of the small images that models are studied on, every pixel counts.
    shown.convert("RGB").save(file, "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")

"""Encoded images: decoded with bounds, and drawn small for a report.

Bytes from strangers are given only to Pillow's decoders for plain raster formats, and only after
the size that the header announces has been found to be one that the memory can take.
"""

from __future__ import annotations

import base64
import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dataaudit.config_values import MOST_PIXELS
from dataaudit.datasets.files import inside
from dataaudit.errors import DataError

SMALL_PIXELS = 2_000_000
PIXELS_PER_BYTE = 2000
"""A larger picture with more pixels a byte is of one colour, and one of many such fills hours."""

MOST_BYTES = 256 * 1024 * 1024
"""A larger encoded image is refused."""

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff")

_STARTS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
)


def is_encoded(content: bytes) -> bool:
    """Tell by its first bytes whether this is a raster image file."""
    return content.startswith(_STARTS) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def image_path(value: Any) -> str | None:
    """Return the path that a value names, or None where it holds the bytes, or nothing."""
    if isinstance(value, dict):
        value = value.get("path") if value.get("bytes") is None else None
    return value if isinstance(value, str) else None


def encoded(value: Any, *, where: str, folder: Path | None = None) -> bytes:
    """Return the bytes of an image file.

    Parameters
    ----------
    value : bytes, str, or mapping with "bytes" and "path"
        The bytes themselves, a path relative to `folder`, or what Hugging Face `datasets` stores:
        the bytes, or else the path.
    where : str
        File and row, for errors.
    folder : Path or None
        No path leads out of it; without one, paths are refused.

    Raises
    ------
    DataError
        When there are no bytes, or the path leads nowhere or out of the folder.
    """
    relative = image_path(value)
    if isinstance(value, dict):
        value = value.get("bytes")
    if isinstance(value, bytes):
        content = value
    elif relative is not None and folder is not None:
        path = inside(folder, relative)
        if path is None:
            raise DataError(f"{where}: there is no image {relative!r} inside {folder}")
        try:
            if path.stat().st_size > MOST_BYTES:
                raise _too_many_bytes(where)
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{where}: image {relative!r} cannot be read: {error}") from error
    else:
        raise DataError(f"{where}: expected an encoded image, found {type(value).__name__}")
    if len(content) > MOST_BYTES:
        raise _too_many_bytes(where)
    return content


def decode(value: Any, *, where: str, folder: Path | None = None) -> Image.Image:
    """Return the image, in its own mode, fully read; of an animation the first picture.

    Parameters
    ----------
    value, where, folder
        As in `encoded`.

    Raises
    ------
    DataError
        When it is none of `FORMATS`, has more than `MOST_PIXELS` pixels, or is damaged.
    """
    return _decoded(encoded(value, where=where, folder=folder), where, shrink_to=None)


def size_of(value: Any, *, where: str, folder: Path | None = None) -> tuple[int, int]:
    """Return width and height, pixels, as the header says; parameters and errors as in `decode`."""
    with _silent():
        return _opened(encoded(value, where=where, folder=folder), where).size


def thumbnail(
    value: Any,
    *,
    where: str,
    folder: Path | None = None,
    side: int = 48,
    drawn: Callable[[Image.Image], Image.Image] | None = None,
) -> str:
    """Return the image as a `data:image/webp;base64,…` URI of at most `side` pixels a side.

    Smaller images keep their size. Parameters and errors as in `decode`.

    Parameters
    ----------
    drawn : callable or None
        Returns the small picture with something drawn on it.
    """
    image = _decoded(encoded(value, where=where, folder=folder), where, shrink_to=side)
    image = _in_eight_bits(image)
    image.thumbnail((side, side))
    if drawn is not None:
        image = drawn(image)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _opened(content: bytes, where: str) -> Image.Image:
    """Return an image of which only the header was read, once its size is one that may be."""
    # Decoders of damaged files raise whatever the damage leads to: OSError, SyntaxError,
    # ValueError, struct.error, IndexError, ... All mean the same.
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: the image has more than {MOST_PIXELS} pixels") from error
    except Exception as error:
        raise DataError(
            f"{where}: not an image of a known format ({', '.join(FORMATS)})"
        ) from error
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{where}: the image has {width} x {height} pixels; at most {MOST_PIXELS} are read"
        )
    if width * height > max(SMALL_PIXELS, PIXELS_PER_BYTE * len(content)):
        raise DataError(
            f"{where}: the image has {width} x {height} pixels in {len(content)} bytes; no picture "
            f"is packed so densely, expected at most {PIXELS_PER_BYTE} pixels a byte"
        )
    return image


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Let decoders warn of nothing: what they stumble over is refused, or does not matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _decoded(content: bytes, where: str, shrink_to: int | None) -> Image.Image:
    with _silent():
        image = _opened(content, where)
        try:
            if shrink_to is not None:
                # JPEG can be decoded at a fraction of its size.
                image.draft("RGB", (shrink_to, shrink_to))
            image.load()
        except Exception as error:
            raise DataError(f"{where}: the image is damaged: {error}") from error
        return image


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Return the image as RGB or RGBA."""
    if image.mode.startswith("I") or image.mode == "F":
        # 16 and 32 bits have no natural white; the darkest is black, the brightest white.
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        low, high = values.min(), values.max()
        scaled = (values - low) * (255.0 / (high - low) if high > low else 0.0)
        image = Image.fromarray(scaled.astype(np.uint8))
    transparent = "A" in image.getbands() or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def _too_many_bytes(where: str) -> DataError:
    return DataError(f"{where}: the image has more than {MOST_BYTES // 2**20} MiB")

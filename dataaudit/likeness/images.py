"""Content of images: alike up to crops, flips, shifts, brightness, noise and recompression.

Kept are thumbnails of 32 × 32 pixels. Candidates are found by the correlation of 8 × 8 thumbnails
(all and parts of the suspect, mirrored too, and of the row), and compared once they are aligned
(`dataaudit.likeness.alignment`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from dataaudit.likeness.alignment import (
    THUMBNAIL_SIDE,
    aligned_similarity,
    averaged,
    channels_first,
)
from dataaudit.likeness.descriptors import FloatArray, ImageDescriptors, IndexArray
from dataaudit.likeness.meaning import picture_key
from dataaudit.likeness.parts import in_parts, parts_of
from dataaudit.likeness.search import COMPARING, Compared, unit

SEARCH_SIDE = 8
CROPPED_SIDE = 27
VERSIONS = 6
IMAGES_PER_STEP = 128
"""So few that what is made of them stays near the processor."""
COMPARED_PER_STEP = 8
_THUMBNAILS = {(THUMBNAIL_SIDE, THUMBNAIL_SIDE, *channels) for channels in ((), (1,), (3,))}
"""Shapes of what needs no making smaller."""
COPY_NOISE = 6.0
"""Standard deviation of the noise on planted copies, in grey levels of 0..255."""


def describe_images(
    images: Sequence[ArrayLike], keys: Sequence[bytes] | None = None
) -> ImageDescriptors:
    """Describe images of any size by thumbnails of 32 × 32 pixels, all grey or all in colour.

    Parameters
    ----------
    images : sequence of arrays
        Each `[height, width]` or `[height, width, channels]`: uint8, or floats from 0 to 1.
    keys : sequence of bytes, or None
        From `picture_key`, of the pictures as they were given; None: of `images`.

    Raises
    ------
    ValueError
        An array has a shape or a range that is no image's; its position is named.
    """
    thumbnails = [thumbnail(image, position) for position, image in enumerate(images)]
    channels = max((small.shape[2] for small in thumbnails), default=1)
    pixels = np.empty((len(thumbnails), THUMBNAIL_SIDE, THUMBNAIL_SIDE, channels), np.uint8)
    for place, small in enumerate(thumbnails):
        pixels[place] = small
    if keys is None:
        keys = [picture_key(np.asarray(image)) for image in images]
    return ImageDescriptors(pixels, np.array(keys, "S16"))


def thumbnail(image: ArrayLike, position: int = 0) -> NDArray[np.uint8]:
    """Return the thumbnail of an image of any size, `[32, 32, 1 or 3]`.

    Parameters and errors as in `describe_images`; `position` is the one that errors name.
    """
    array = np.asarray(image)
    if array.dtype == np.uint8 and array.shape in _THUMBNAILS:
        return array.reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE, -1)
    picture = _as_picture(array, position)
    if picture.size != (THUMBNAIL_SIDE, THUMBNAIL_SIDE):
        larger = max(picture.size) > THUMBNAIL_SIDE
        method = Image.Resampling.BOX if larger else Image.Resampling.BILINEAR
        picture = picture.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), method)
    return np.asarray(picture).reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE, -1)


def _as_picture(array: NDArray[Any], position: int) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 3 and array.shape[2] == 4:
        array = array[:, :, :3]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or array.size == 0:
        raise ValueError(
            f"image {position}: expected shape [height, width] or [height, width, 1, 3 or 4], "
            f"found {array.shape}"
        )
    if array.dtype != np.uint8:
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ValueError(
                f"image {position}: expected uint8, or floats in 0..1, found {array.dtype} in "
                f"{array.min()}..{array.max()}"
            )
        array = np.rint(array * 255).astype(np.uint8)
    return Image.fromarray(array)


class ImageRows:
    """Training images; grey ones become colour ones where they are compared with colour.

    The first version of a row to search with is all of it; the first two views of a suspect are
    all of it, as it is and mirrored. Parts are compared with wholes only.
    """

    def __init__(self, rows: ImageDescriptors, channels: int) -> None:
        self.rows = _with_channels(rows, channels)
        self.channels = channels

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def vectors(self, part: slice | IndexArray) -> FloatArray:
        """Return unit vectors of some rows to search with, `[rows, versions, width]`."""
        thumbnails = self.rows.thumbnails[part]
        found = np.empty((len(thumbnails), VERSIONS, self.channels * SEARCH_SIDE**2), np.float32)
        for some in parts_of(len(thumbnails), IMAGES_PER_STEP):
            found[some] = _versions(thumbnails[some])
        return found

    def views(self, suspects: ImageDescriptors) -> FloatArray:
        """Return unit vectors of suspects to search with, `[suspects, views, width]`."""
        thumbnails = _with_channels(suspects, self.channels).thumbnails
        images, own = channels_first(thumbnails), _versions(thumbnails)
        mirror = _versions(thumbnails[:, :, ::-1])
        parts = (own[:, 1:], mirror[:, 1:], _shifted(images), _shifted(images[..., ::-1]))
        return np.concatenate([own[:, :1], mirror[:, :1], *parts], 1)

    def copies(self, rows: IndexArray, generator: np.random.Generator) -> ImageDescriptors:
        """Return edited copies of some rows: cropped, half of them mirrored, lighter, noisy."""
        thumbnails = self.rows.thumbnails[rows]
        spare = THUMBNAIL_SIDE - CROPPED_SIDE
        edited = np.empty(thumbnails.shape, np.float32)
        for place, (top, left) in enumerate(generator.integers(0, spare + 1, (len(rows), 2))):
            part = thumbnails[place, top : top + CROPPED_SIDE, left : left + CROPPED_SIDE]
            picture = Image.fromarray(part.squeeze()).resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            edited[place] = np.asarray(picture, np.float32).reshape(thumbnails.shape[1:])
        edited[::2] = edited[::2, :, ::-1]
        light = generator.uniform(0.8, 1.2, (len(rows), 1, 1, 1))
        noise = generator.normal(0, COPY_NOISE, edited.shape)
        return ImageDescriptors(np.rint(edited * light + noise).clip(0, 255).astype(np.uint8))

    def compare(
        self, suspects: ImageDescriptors, candidates: IndexArray, exclude: IndexArray | None
    ) -> Compared:
        """Align suspects with some rows in the best way."""
        own, rows = _with_channels(suspects, self.channels).thumbnails, self.rows.thumbnails
        if len(rows) == 0:
            nothing = np.full(candidates.shape, -np.inf, np.float32)
            return nothing, nothing

        def compare_some(part: slice) -> FloatArray:
            chosen = candidates[part]
            return aligned_similarity(own[part], rows[chosen.clip(0)], chosen >= 0)

        parts = in_parts(compare_some, len(own), COMPARED_PER_STEP, COMPARING)
        similarity = np.concatenate([np.empty(candidates[:0].shape, np.float32), *parts])
        score = np.arctanh(similarity.clip(-0.995, 0.995))
        return similarity, np.where(np.isneginf(similarity), similarity, score)


def _with_channels(images: ImageDescriptors, channels: int) -> ImageDescriptors:
    shape = (len(images), THUMBNAIL_SIDE, THUMBNAIL_SIDE, channels)
    return ImageDescriptors(np.broadcast_to(images.thumbnails, shape))


def _versions(thumbnails: NDArray[np.uint8]) -> FloatArray:
    """Return small thumbnails of `[items, 32, 32, channels]`: whole, four corners, middle.

    `[items, VERSIONS, channels x 8 x 8]`, each of mean 0 in each channel, and of length 1.
    """
    count, side, _, channels = thumbnails.shape
    lines = thumbnails.reshape(count, side, side * channels).astype(np.float32)
    fewer = _smaller() @ lines
    small = np.empty((count, VERSIONS, channels, SEARCH_SIDE, SEARCH_SIDE), np.float32)
    first = 0
    for down, right in _across(channels):
        last = first + right.shape[1] // (channels * SEARCH_SIDE)
        both = fewer[:, down].reshape(-1, side * channels) @ right
        both = both.reshape(count, SEARCH_SIDE, last - first, channels, SEARCH_SIDE)
        small[:, first:last] = both.transpose(0, 2, 3, 1, 4)
        first = last
    return _centred(small)


def _shifted(images: FloatArray) -> FloatArray:
    """Return [items, 4, width]: small thumbnails shifted by one cell up, down, left, right."""
    small = averaged(images, SEARCH_SIDE)
    padded = np.pad(small - small.mean((2, 3), keepdims=True), ((0, 0), (0, 0), (1, 1), (1, 1)))
    inner, before, after = slice(1, -1), slice(0, -2), slice(2, None)
    moves = ((after, inner), (before, inner), (inner, after), (inner, before))
    return np.stack([unit(padded[:, :, down, right]) for down, right in moves], 1)


def _centred(images: FloatArray) -> FloatArray:
    """Return `[items, versions, channels, side, side]` flat, of mean 0, and of length 1."""
    flat = images.reshape(-1, images.shape[3] * images.shape[4])
    flat -= flat.mean(1, keepdims=True)
    found = images.reshape(len(images) * images.shape[1], -1)
    length = np.sqrt(np.einsum("vp,vp->v", found, found))
    found /= np.maximum(length, 1e-6)[:, None]
    return found.reshape(*images.shape[:2], -1)


@lru_cache(maxsize=1)
def _smaller() -> FloatArray:
    """Return what averages a line of 32 pixels into 8: all, and parts from start, middle, end."""
    spare = THUMBNAIL_SIDE - CROPPED_SIDE
    whole = np.kron(np.eye(SEARCH_SIDE), np.full(THUMBNAIL_SIDE // SEARCH_SIDE, 1.0))
    parts = [_cropping(start) for start in (0, spare // 2, spare)]
    whole = whole * (SEARCH_SIDE / THUMBNAIL_SIDE)
    return np.concatenate([whole.astype(np.float32), *parts])


def _cropping(start: int) -> FloatArray:
    """Return the matrix [8, 32] that averages CROPPED_SIDE pixels from `start` into 8 cells."""
    cell = CROPPED_SIDE / SEARCH_SIDE
    middle = start + (np.arange(SEARCH_SIDE)[:, None] + 0.5) * cell - 0.5
    weight = np.clip(1 - np.abs(np.arange(THUMBNAIL_SIDE) - middle) / cell, 0, 1)
    return np.asarray(weight / weight.sum(1, keepdims=True), np.float32)


@lru_cache(maxsize=2)
def _across(channels: int) -> list[tuple[slice, FloatArray]]:
    """Return which of the fewer lines make some versions, and what averages along these.

    The latter is a matrix `[32 pixels x channels, versions x channels x 8]`, so that pixels need
    not be put in another order first.
    """
    whole, start, middle, end = (
        _smaller()[place : place + SEARCH_SIDE] for place in range(0, 4 * SEARCH_SIDE, SEARCH_SIDE)
    )

    def along(part: FloatArray) -> FloatArray:
        matrix = np.einsum("sp,cd->pcds", part, np.eye(channels))
        return matrix.reshape(THUMBNAIL_SIDE * channels, channels * SEARCH_SIDE)

    corners = np.concatenate([along(start), along(end)], 1)
    ways = (along(whole), corners, along(middle), corners)
    lines = [slice(SEARCH_SIDE * place, SEARCH_SIDE * (place + 1)) for place in range(4)]
    return [(lines[place], np.ascontiguousarray(ways[place], np.float32)) for place in (0, 1, 3, 2)]

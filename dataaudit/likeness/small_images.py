"""Content evidence for images of 4 to 16 pixels a side, compared at their own resolution.

Such images (digits, patches, spectra) hold too little for thumbnails and zooms to make sense:
one pixel is much of the picture. They are few numbers, so every suspect is held against every
row, by the largest normalised cross-correlation over small shifts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.likeness.descriptors import FloatArray, IndexArray, SmallImageDescriptors
from dataaudit.likeness.meaning import picture_key
from dataaudit.likeness.parts import one_by_one, parts_of

SMALLEST_SIDE, LARGEST_SIDE = 4, 16
LARGEST_SHIFT = 1
SUSPECTS_PER_BLOCK, ROWS_PER_BLOCK = 1024, 4096


def are_small(pictures: Sequence[NDArray[Any]]) -> bool:
    """Tell whether the pictures all have one shape, of 4 to 16 pixels a side."""
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1:
        return False
    sides = next(iter(shapes))[:2]
    return min(sides) >= SMALLEST_SIDE and max(sides) <= LARGEST_SIDE


def describe_small_images(
    pictures: Sequence[NDArray[Any]], keys: Sequence[bytes] | None = None
) -> SmallImageDescriptors:
    """Describe `[height, width]` or `[height, width, channels]` arrays of one shape.

    `keys` are those of the pictures as they were given (`picture_key`); None: of `pictures`.
    """
    pixels = np.stack(pictures).astype(np.float32)
    if keys is None:
        keys = [picture_key(picture) for picture in pictures]
    return SmallImageDescriptors(pixels.reshape(*pixels.shape[:3], -1), np.array(keys, "S16"))


def match_small_images(
    suspects: SmallImageDescriptors,
    rows: SmallImageDescriptors,
    keep: int,
    exclude: IndexArray | None = None,
) -> tuple[IndexArray, FloatArray]:
    """Find the rows most alike to each suspect, by looking at all of them.

    Parameters
    ----------
    suspects, rows : SmallImageDescriptors
        Of the same height, width and channels.
    keep : int
        Matches to keep for each suspect.
    exclude : int64 `[suspects]` or None
        The one row that a suspect must not be matched with (itself, where suspects are rows).

    Returns
    -------
    rows : int64 `[suspects, keep]`
        Positions, best first, the earlier row first where equal.
    similarity : float32 `[suspects, keep]`
        Correlation between -1 and 1; 1 is the same content up to a shift and to contrast.
    """
    keep = min(keep, len(rows) - (exclude is not None))

    def match_some(here: slice) -> tuple[IndexArray, FloatArray]:
        own = None if exclude is None else exclude[here]
        return _match_block(suspects.pixels[here], rows.pixels, keep, own)

    best = np.full((len(suspects), keep), -np.inf, dtype=np.float32)
    places = np.zeros((len(suspects), keep), dtype=np.int64)
    parts = parts_of(len(suspects), SUSPECTS_PER_BLOCK)
    matched = one_by_one(match_some, parts, "searching the training rows")
    for here, found in zip(parts, matched, strict=True):
        places[here], best[here] = found
    return places, best


def _match_block(
    suspects: FloatArray, rows: FloatArray, keep: int, exclude: IndexArray | None
) -> tuple[IndexArray, FloatArray]:
    best = np.full((len(suspects), keep), -np.inf, dtype=np.float32)
    places = np.zeros((len(suspects), keep), dtype=np.int64)
    for start in range(0, len(rows), ROWS_PER_BLOCK):
        block = rows[start : start + ROWS_PER_BLOCK]
        alike = _similarity(suspects, block)
        if exclude is not None:
            inside = np.flatnonzero((exclude >= start) & (exclude < start + len(block)))
            alike[inside, exclude[inside] - start] = -np.inf
        candidates = np.concatenate([best, alike], axis=1)
        here = np.broadcast_to(start + np.arange(len(block)), alike.shape)
        all_places = np.concatenate([places, here], axis=1)
        order = np.argsort(-candidates, axis=1, kind="stable")[:, :keep]
        best = np.take_along_axis(candidates, order, axis=1)
        places = np.take_along_axis(all_places, order, axis=1)
    return places, best


def _similarity(suspects: FloatArray, rows: FloatArray) -> FloatArray:
    """Return `[suspects, rows]`: the largest correlation over all shifts."""
    best = np.full((len(suspects), len(rows)), -1.0, dtype=np.float32)
    for ours, theirs in _overlaps():
        best = np.maximum(best, _unit(suspects[:, *ours]) @ _unit(rows[:, *theirs]).T)
    return best


def _overlaps() -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield, for each shift, the part of the suspect and the part of the row that overlap."""
    shifts = range(-LARGEST_SHIFT, LARGEST_SHIFT + 1)
    for down in shifts:
        for right in shifts:
            yield (_part(down), _part(right)), (_part(-down), _part(-right))


def _part(shift: int) -> slice:
    return slice(max(0, shift), None if shift >= 0 else shift)


def _unit(images: FloatArray) -> FloatArray:
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    # A blank image is like nothing, not like everything.
    return np.where(length > 1e-6, flat / np.maximum(length, 1e-6), 0).astype(np.float32)

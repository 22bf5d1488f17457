"""Two thumbnails laid over each other in the best way: flips, zooms and shifts.

Compared is the largest normalised cross-correlation of the band-passed thumbnails over flips, zooms
and shifts, on the overlap only (masked correlation: D. Padfield, "Masked object registration in the
Fourier domain", IEEE TIP 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dataaudit.likeness.descriptors import FloatArray

THUMBNAIL_SIDE = 32
COARSE_SIDE = 16
ZOOMS = (0.8, 0.9, 1.0, 1.12, 1.25)
REFINED_CANDIDATES = 8
REFINED_STARTS = 2
COARSE_SHIFT = 2
FINE_SHIFT = 5
NOISE_FLOOR = 2.0
"""Standard deviation, in grey levels of 0..255, below which image detail counts as noise."""
UNSEEN_AREA_PENALTY = 0.2
FLIP_PENALTY = 0.08
UNEDITED_DISTANCE_PENALTY = 0.001
"""Per grey level of root mean square difference before any alignment."""


def aligned_similarity(suspect: NDArray[Any], candidates: NDArray[Any]) -> FloatArray:
    """Align all candidates coarsely, then the best few finely, and look at those closely.

    Parameters
    ----------
    suspect : `[1, 32, 32, channels]`
    candidates : `[candidates, 32, 32, channels]`

    Returns
    -------
    `[candidates]`
        At most 1, the same image.
    """
    coarse = alignments(COARSE_SIDE, COARSE_SHIFT)
    correlation = coarse.correlate(
        _band_pass(shrink(suspect, COARSE_SIDE))[0],
        _band_pass(shrink(candidates, COARSE_SIDE)),
    )
    similarity = correlation.max(0)
    best = np.argsort(-similarity, kind="stable")[:REFINED_CANDIDATES]
    starts = np.argsort(-correlation[:, best], axis=0, kind="stable")[:REFINED_STARTS].T
    refined = _refine(suspect, candidates[best], starts)
    # Among several copies, the one that needed the least editing comes first.
    difference = suspect.astype(np.float32) - candidates[best]
    unedited = np.sqrt((difference**2).mean((1, 2, 3)))
    refined += UNEDITED_DISTANCE_PENALTY * (unedited[refined.argmax()] - unedited)
    rest = np.ones(len(similarity), bool)
    rest[best] = False
    # a candidate that was not refined never overtakes one that was
    similarity[rest] = np.minimum(similarity[rest], refined.min())
    similarity[best] = refined
    return similarity


class Alignments:
    """All flips, zooms and shifts of a square image of `side` pixels, and their correlation.

    `masks` [alignments, side * side] is 1 where the moved suspect covers the row.
    """

    def __init__(self, side: int, largest_shift: int, zooms: Sequence[float] = ZOOMS) -> None:
        self.side = side
        self.largest_shift = largest_shift
        self.zoom_matrices = [zoom_matrix(zoom, side, largest_shift) for zoom in zooms]
        masks = np.concatenate(
            [self._windows(np.outer(seen, seen)) for _, seen in self.zoom_matrices]
        )
        self.masks: FloatArray = np.concatenate([masks, masks])
        self.pixels: FloatArray = self.masks.sum(1)
        flipped = np.repeat([0.0, 1.0], len(masks))
        unseen = 1 - self.pixels / side**2
        # a mere shift explains more than a zoom does: it has fewer ways to fit by chance
        shifts = (2 * largest_shift + 1) ** 2
        zoomed = np.tile(np.repeat([zoom != 1.0 for zoom in zooms], shifts), 2)
        weight = np.where(zoomed, UNSEEN_AREA_PENALTY, UNSEEN_AREA_PENALTY / 4)
        self.penalty = np.asarray(weight * unseen + FLIP_PENALTY * flipped, np.float32)

    def _windows(self, canvas: NDArray[Any]) -> FloatArray:
        windows = sliding_window_view(canvas, (self.side, self.side))
        return windows.reshape(-1, self.side**2).astype(np.float32)

    def views(self, image: FloatArray) -> FloatArray:
        """Return the moved copies [alignments, channels, pixels] of [side, side, channels]."""
        moved = []
        for oriented in (image, image[:, ::-1]):
            for matrix, _ in self.zoom_matrices:
                canvas = np.tensordot(np.tensordot(matrix, oriented, (1, 0)), matrix, (1, 1))
                windows = sliding_window_view(canvas, (self.side, self.side), axis=(0, 2))
                moved.append(
                    windows.transpose(0, 2, 1, 3, 4).reshape(-1, canvas.shape[1], self.side**2)
                )
        return np.concatenate(moved)

    def correlate(self, image: FloatArray, candidates: FloatArray) -> FloatArray:
        """Return `[alignments, candidates]` masked normalised cross-correlation less its penalty.

        Parameters
        ----------
        image : `[side, side, channels]`, band-passed
        candidates : `[candidates, side, side, channels]`, band-passed
        """
        moved = self.views(image)
        seen = self.pixels[:, None]
        mean = np.einsum("acp,ap->ac", moved, self.masks) / seen
        moved = (moved - mean[:, :, None]) * self.masks[:, None]
        other = candidates.transpose(0, 3, 1, 2).reshape(len(candidates), -1, self.side**2)
        product = moved.reshape(len(moved), -1) @ other.reshape(len(other), -1).T
        variance = self.masks @ (other * other).sum(1).T
        for channel in range(other.shape[1]):
            variance -= (self.masks @ other[:, channel].T) ** 2 / seen
        floor = NOISE_FLOOR**2 * seen
        own = (moved * moved).sum((1, 2))[:, None]
        correlation = product / np.sqrt((variance.clip(0) + floor) * (own + floor))
        return np.asarray(correlation - self.penalty[:, None], np.float32)

    def moves(self, alignment: NDArray[Any]) -> tuple[NDArray[np.intp], ...]:
        """Return flip (0, 1), zoom (position in `ZOOMS`), down and right (from 0) of alignments."""
        shifts = 2 * self.largest_shift + 1
        shape = (2, len(self.zoom_matrices), shifts, shifts)
        return tuple(np.asarray(part) for part in np.unravel_index(alignment, shape))


@lru_cache(maxsize=4)
def alignments(side: int, largest_shift: int) -> Alignments:
    """Return the alignments of a side and shift, made once."""
    return Alignments(side, largest_shift)


def _refine(suspect: NDArray[Any], candidates: NDArray[Any], starts: NDArray[Any]) -> FloatArray:
    """Correlate three kinds of detail at all alignments next to the coarse ones.

    Parameters
    ----------
    suspect : `[1, 32, 32, channels]`
    candidates : `[candidates, 32, 32, channels]`
    starts : `[candidates, starts]`
        Coarse alignments.

    Returns
    -------
    `[candidates]`
        Largest mean correlation over the kinds of detail, less its penalty.
    """
    coarse = alignments(COARSE_SIDE, COARSE_SHIFT)
    step, margin = THUMBNAIL_SIDE // COARSE_SIDE, FINE_SHIFT
    flip, zoom, down, right = (m[:, :, None] for m in coarse.moves(starts))
    nearby = np.arange(9)
    down = (down - COARSE_SHIFT) * step + nearby // 3 - 1 + margin
    right = (right - COARSE_SHIFT) * step + nearby % 3 - 1 + margin
    fine = alignments(THUMBNAIL_SIDE, margin)
    shifts, zooms = 2 * margin + 1, len(ZOOMS)
    chosen = (((flip * zooms + zoom) * shifts + down) * shifts + right).reshape(len(candidates), -1)
    mask, seen = fine.masks[chosen], fine.pixels[chosen]
    both = np.concatenate([suspect, suspect[:, :, ::-1]])
    matrices = np.stack([matrix for matrix, _ in fine.zoom_matrices])
    total = np.zeros(chosen.shape, np.float32)
    kinds = (_band_pass, _texture, _edges)
    for kind in kinds:
        own = kind(both)
        canvas = np.einsum("zij,fjkc->fzick", matrices, own, optimize=True)
        canvas = np.einsum("fzick,zlk->fzcil", canvas, matrices, optimize=True)
        windows = sliding_window_view(canvas, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), axis=(3, 4))
        flips, zoom_of, downs, rights = (
            m.reshape(chosen.shape) for m in np.broadcast_arrays(flip, zoom, down, right)
        )
        moved = windows[flips, zoom_of, :, downs, rights]
        other = kind(candidates).transpose(0, 3, 1, 2)
        total += _masked_correlation(
            moved.reshape(*chosen.shape, moved.shape[2], -1),
            other.reshape(len(other), other.shape[1], -1),
            mask,
            seen,
        )
    return np.asarray((total / len(kinds) - fine.penalty[chosen]).max(1), np.float32)


def _masked_correlation(
    moved: FloatArray, other: FloatArray, mask: FloatArray, seen: FloatArray
) -> FloatArray:
    """Return `[candidates, alignments]` correlation where `mask` is 1.

    Parameters
    ----------
    moved : `[candidates, alignments, channels, pixels]`
    other : `[candidates, channels, pixels]`
    mask : `[candidates, alignments, pixels]`
    seen : `[candidates, alignments]`
        Sum of `mask`.
    """
    mean = np.matmul(moved, mask[..., None])[..., 0] / seen[..., None]
    moved = (moved - mean[..., None]) * mask[:, :, None]
    length = other.shape[1] * other.shape[2]
    flat = moved.reshape(*mask.shape[:2], length)
    product = np.matmul(flat, other.reshape(len(other), length, 1))[..., 0]
    sums = np.matmul(mask, other.transpose(0, 2, 1))
    squares = np.matmul(mask, (other * other).sum(1)[..., None])[..., 0]
    variance = squares - (sums**2).sum(2) / seen
    floor = NOISE_FLOOR**2 * seen
    own = (flat * flat).sum(2)
    return np.asarray(product / np.sqrt((variance.clip(0) + floor) * (own + floor)), np.float32)


def zoom_matrix(zoom: float, side: int, margin: int) -> tuple[FloatArray, FloatArray]:
    """Return what zooms a line about its centre, and where the line is seen afterwards.

    The former is a matrix [side + 2 margin, side], the latter [side + 2 margin], 1 or 0.
    """
    length = side + 2 * margin
    source = (np.arange(length) - (length - 1) / 2) / zoom + (side - 1) / 2
    seen = (source >= -0.5) & (source <= side - 0.5)
    source = source.clip(0, side - 1)
    left = np.floor(source).astype(int).clip(0, side - 2)
    matrix = np.zeros((length, side), np.float32)
    matrix[np.arange(length), left] += 1 - (source - left)
    matrix[np.arange(length), left + 1] += source - left
    matrix[~seen] = 0
    return matrix, seen.astype(np.float32)


def shrink(thumbnails: NDArray[Any], side: int) -> FloatArray:
    """Average [items, 32, 32, channels] to [items, side, side, channels]."""
    step = thumbnails.shape[1] // side
    shape = (len(thumbnails), side, step, side, step, thumbnails.shape[3])
    return thumbnails.reshape(shape).mean((2, 4), dtype=np.float32)


def _band_pass(images: NDArray[Any]) -> FloatArray:
    """Remove slow shading (an eighth of the side and more) and single-pixel noise."""
    images = images.astype(np.float32)
    side = images.shape[1]
    return _blur(images - _blur(images, side / 8), 0.7 * side / THUMBNAIL_SIDE)


def _texture(images: NDArray[Any]) -> FloatArray:
    """Return finer detail divided by its local strength, so that one strong edge cannot decide."""
    images = images.astype(np.float32)
    detail = _blur(images - _blur(images, 2.0), 0.7)
    strength = np.sqrt(_blur((detail * detail).mean(3, keepdims=True), 3.0))
    return 20 * detail / (strength + 4)


def _edges(images: NDArray[Any]) -> FloatArray:
    """Return the slope to the right and down of the grey image, strong ones compressed."""
    grey = _blur(images.astype(np.float32), 0.7).mean(3)
    slope = np.stack(
        [np.roll(grey, -1, 2) - np.roll(grey, 1, 2), np.roll(grey, -1, 1) - np.roll(grey, 1, 1)], 3
    )
    slope[:, :, [0, -1], 0] = 0
    slope[:, [0, -1], :, 1] = 0
    return np.asarray(
        5 * slope / np.sqrt(np.linalg.norm(slope, axis=3, keepdims=True) + 8), np.float32
    )


def _blur(images: FloatArray, width: float) -> FloatArray:
    return np.asarray(gaussian_filter(images, (0, width, width, 0), mode="nearest"), np.float32)

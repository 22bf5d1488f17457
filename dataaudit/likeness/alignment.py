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
from scipy.ndimage import gaussian_filter1d

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


def aligned_similarity(
    suspects: NDArray[Any], candidates: NDArray[Any], present: NDArray[np.bool_]
) -> FloatArray:
    """Align all candidates coarsely, then the best few finely, and look at those closely.

    Parameters
    ----------
    suspects : `[suspects, 32, 32, channels]`
    candidates : `[suspects, candidates, 32, 32, channels]`
    present : bool `[suspects, candidates]`
        Which candidates there are; what stands in the place of others does not matter.

    Returns
    -------
    `[suspects, candidates]`
        At most 1, the same image; -inf for no candidate.
    """
    own, others = channels_first(suspects), channels_first(candidates)
    correlation = alignments(COARSE_SIDE, COARSE_SHIFT).correlate(
        _band_pass(averaged(own, COARSE_SIDE)), _band_pass(averaged(others, COARSE_SIDE))
    )
    similarity = np.where(present, correlation.max(2), -np.inf)
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :REFINED_CANDIDATES]
    near = np.take_along_axis(correlation, best[:, :, None], axis=1)
    starts = np.argsort(-near, axis=2, kind="stable")[:, :, :REFINED_STARTS]
    chosen = others[np.arange(len(own))[:, None], best]
    refined = _refine(own, chosen, starts)
    refined[~np.take_along_axis(present, best, 1)] = -np.inf
    # Among several copies, the one that needed the least editing comes first.
    unedited = np.sqrt(((own[:, None] - chosen) ** 2).mean((2, 3, 4)))
    first = np.take_along_axis(unedited, refined.argmax(1)[:, None], 1)
    refined += UNEDITED_DISTANCE_PENALTY * (first - unedited)
    # A candidate that was not refined never overtakes one that was.
    least = refined.min(1, where=np.isfinite(refined), initial=np.inf)
    similarity = np.minimum(similarity, least[:, None])
    np.put_along_axis(similarity, best, refined, 1)
    return np.asarray(similarity, np.float32)


class Alignments:
    """All flips, zooms and shifts of a square image of `side` pixels, and their correlation.

    An alignment is a flip, a zoom, a shift down and one to the right, counted in that order.
    `covered` `[zooms, shifts, side]` is 1 where, along one axis, the moved suspect covers the row;
    `pixels` `[zooms, shifts, shifts]` counts the pixels that it covers; `penalty` `[flips, zooms,
    shifts, shifts]` is what an alignment has to be better than none by.
    """

    def __init__(self, side: int, largest_shift: int, zooms: Sequence[float] = ZOOMS) -> None:
        self.side = side
        self.largest_shift = largest_shift
        found = [zoom_matrix(zoom, side, largest_shift) for zoom in zooms]
        self._matrices: FloatArray = np.stack([matrix for matrix, _ in found])
        self.covered: FloatArray = np.stack([sliding_window_view(seen, side) for _, seen in found])
        length = self.covered.sum(2)
        self.pixels: FloatArray = length[:, :, None] * length[:, None]
        unseen = 1 - self.pixels / side**2
        # A mere shift explains more than a zoom does: it has fewer ways to fit by chance.
        zoomed = np.array([zoom != 1.0 for zoom in zooms])[:, None, None]
        weighted = np.where(zoomed, UNSEEN_AREA_PENALTY, UNSEEN_AREA_PENALTY / 4) * unseen
        self.penalty = np.stack([weighted, weighted + FLIP_PENALTY]).astype(np.float32)

    def canvases(self, images: FloatArray) -> FloatArray:
        """Return images `[.., channels, side, side]` zoomed, on grounds that all shifts need.

        `[.., zooms, channels, length, length]`, 0 where a zoomed image is not seen.
        """
        right = images[..., None, :, :, :] @ self._matrices[:, None].swapaxes(2, 3)
        return np.asarray(self._matrices[:, None] @ right, np.float32)

    def correlate(self, images: FloatArray, candidates: FloatArray) -> FloatArray:
        """Return `[images, candidates, alignments]` correlation less its penalty.

        Parameters
        ----------
        images : `[images, channels, side, side]`, band-passed
        candidates : `[images, candidates, channels, side, side]`, band-passed
        """
        (count, channels), area = images.shape[:2], self.side**2
        canvas = self.canvases(np.stack([images, images[..., ::-1]], 1))
        windows = sliding_window_view(canvas, (self.side, self.side), axis=(4, 5))
        moved = windows.transpose(0, 1, 2, 4, 5, 3, 6, 7).reshape(count, 2, -1, channels, area)
        other = candidates.reshape(*candidates.shape[:3], area)
        product = other.reshape(count, -1, channels * area) @ moved.reshape(
            count, -1, channels * area
        ).swapaxes(1, 2)
        masks = np.einsum("zdi,zrj->zdrij", self.covered, self.covered).reshape(-1, area)
        found = _correlation(
            product.reshape(*product.shape[:2], *moved.shape[1:3]),
            np.einsum("nfacp->nfac", moved)[:, None],
            np.einsum("nfacp,nfacp->nfa", moved, moved)[:, None],
            (_with_squares(other) @ masks.T).swapaxes(2, 3)[:, :, None],
            self.pixels.ravel(),
        )
        return found.reshape(product.shape) - self.penalty.ravel()

    def moves(self, alignment: NDArray[Any]) -> tuple[NDArray[np.intp], ...]:
        """Return flip (0, 1), zoom (position in `ZOOMS`), down and right (from 0) of alignments."""
        return tuple(np.asarray(part) for part in np.unravel_index(alignment, self.penalty.shape))


@lru_cache(maxsize=4)
def alignments(side: int, largest_shift: int) -> Alignments:
    """Return the alignments of a side and shift, made once."""
    return Alignments(side, largest_shift)


def _refine(suspects: FloatArray, candidates: FloatArray, starts: NDArray[Any]) -> FloatArray:
    """Correlate three kinds of detail at all alignments next to the coarse ones.

    Parameters
    ----------
    suspects : `[suspects, channels, 32, 32]`
    candidates : `[suspects, candidates, channels, 32, 32]`
    starts : `[suspects, candidates, starts]`
        Coarse alignments.

    Returns
    -------
    `[suspects, candidates]`
        Largest mean correlation over the kinds of detail, less its penalty.
    """
    step, side = THUMBNAIL_SIDE // COARSE_SIDE, THUMBNAIL_SIDE
    flip, zoom, down, right = alignments(COARSE_SIDE, COARSE_SHIFT).moves(starts)
    fine = alignments(side, FINE_SHIFT)
    # The first of three shifts each way.
    down = (down - COARSE_SHIFT) * step + FINE_SHIFT - 1
    right = (right - COARSE_SHIFT) * step + FINE_SHIFT - 1
    suspect, nearby = np.arange(len(suspects))[:, None, None], np.arange(3)
    downs, rights = down[..., None] + nearby, right[..., None] + nearby
    place = zoom[..., None, None], downs[..., None], rights[..., None, :]
    seen = fine.pixels[place]
    covered_down = fine.covered[zoom[..., None], downs]
    covered_right = fine.covered[zoom[..., None], rights]
    both = np.stack([suspects, suspects[..., ::-1]], 1)
    total = np.zeros(seen.shape, np.float32)
    kinds = (_band_pass, _texture, _edges)
    for kind in kinds:
        windows = sliding_window_view(fine.canvases(kind(both)), (side + 2, side + 2), axis=(4, 5))
        parts = windows[suspect, flip, zoom, :, down, right]
        # `[suspects, candidates, starts, channels, right, rows x columns]`: then the windows
        # further down are stretches of the same memory.
        strips = np.ascontiguousarray(sliding_window_view(parts, side, axis=5).swapaxes(4, 5))
        moved = sliding_window_view(strips.reshape(*strips.shape[:5], -1), side * side, axis=5)
        other = kind(candidates)
        flat = other.reshape(*other.shape[:3], -1)
        squares = np.einsum("nkscrip,nkscrip->nksri", strips, strips)
        total += _correlation(
            np.einsum("nkscrdp,nkcp->nksdr", moved[..., ::side, :], flat),
            _sums_down(np.einsum("nkscrip->nksrci", strips), side).transpose(0, 1, 2, 5, 3, 4),
            _sums_down(squares, side).swapaxes(3, 4),
            _covered_sums(_with_squares(other), covered_down, covered_right),
            seen,
        )
    return np.asarray(
        (total / len(kinds) - fine.penalty[(flip[..., None, None], *place)]).max((2, 3, 4)),
        np.float32,
    )


def _sums_down(rows: FloatArray, side: int) -> FloatArray:
    """Return the sums of each `side` consecutive values of `[.., side + 2]`, `[.., 3]`."""
    return np.asarray(sliding_window_view(rows, side, axis=-1).sum(-1), np.float32)


def _covered_sums(
    images: FloatArray, covered_down: FloatArray, covered_right: FloatArray
) -> FloatArray:
    """Return the sums over the rows and columns that are covered, `[.., starts, 3, 3, channels]`.

    Parameters
    ----------
    images : `[suspects, candidates, channels, side, side]`
    covered_down, covered_right : `[suspects, candidates, starts, 3, side]`
    """
    shape, side = covered_right.shape, images.shape[3]
    lines = images.reshape(*shape[:2], -1, side)
    right = lines @ covered_right.reshape(*shape[:2], -1, side).swapaxes(2, 3)
    right = right.reshape(*images.shape[:4], *shape[2:4])
    return np.asarray(np.einsum("nkcisr,nksdi->nksdrc", right, covered_down), np.float32)


def _with_squares(images: FloatArray) -> FloatArray:
    """Put the sum of the squares over `[suspects, candidates, channels, ..]` behind these."""
    return np.concatenate([images, (images * images).sum(2, keepdims=True)], 2)


def _correlation(
    product: FloatArray,
    own_sums: FloatArray,
    own_squares: FloatArray,
    other_sums: FloatArray,
    seen: FloatArray,
) -> FloatArray:
    """Return the normalised correlation of what is seen, each channel about its mean.

    Parameters
    ----------
    product : `[..]`
        Sum of the products over channels and pixels.
    own_sums : `[.., channels]`
    own_squares : `[..]`
        Sum over channels and pixels.
    other_sums : `[.., channels and 1]`
        The last are the sums of the squares.
    seen : `[..]`
        The number of pixels.
    """
    other_sums, other_squares = other_sums[..., :-1], other_sums[..., -1]
    floor, channels = NOISE_FLOOR**2 * seen, other_sums.shape[-1]
    own = own_squares - (own_sums**2).sum(-1) / seen
    other = other_squares - (other_sums**2).sum(-1) / seen
    # Channel by channel: NumPy takes far longer for sums over a short last axis.
    means = sum(own_sums[..., place] * other_sums[..., place] for place in range(channels))
    covariance = product - means / seen
    return np.asarray(
        covariance / np.sqrt((other.clip(0) + floor) * (own.clip(0) + floor)), np.float32
    )


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


def channels_first(images: NDArray[Any]) -> FloatArray:
    """Return `[.., side, side, channels]` as `[.., channels, side, side]`."""
    return np.ascontiguousarray(np.moveaxis(images, -1, -3), np.float32)


def averaged(images: FloatArray, side: int) -> FloatArray:
    """Average `[.., side of an image, side of an image]` to `[.., side, side]`."""
    step = images.shape[-1] // side
    down = images[..., ::step, :].copy()
    for start in range(1, step):
        down += images[..., start::step, :]
    both = down[..., ::step].copy()
    for start in range(1, step):
        both += down[..., start::step]
    return both / np.float32(step**2)


def _band_pass(images: FloatArray) -> FloatArray:
    """Remove slow shading (an eighth of the side and more) and single-pixel noise."""
    side = images.shape[-1]
    return _blur(images - _blur(images, side / 8), 0.7 * side / THUMBNAIL_SIDE)


def _texture(images: FloatArray) -> FloatArray:
    """Return finer detail divided by its local strength, so that one strong edge cannot decide."""
    detail = _blur(images - _blur(images, 2.0), 0.7)
    strength = np.sqrt(_blur((detail * detail).mean(-3, keepdims=True), 3.0))
    return 20 * detail / (strength + 4)


def _edges(images: FloatArray) -> FloatArray:
    """Return the slope to the right and down of the grey image, strong ones compressed."""
    grey = _blur(images.mean(-3), 0.7)
    slope = np.zeros((*grey.shape[:-2], 2, *grey.shape[-2:]), np.float32)
    slope[..., 0, :, 1:-1] = grey[..., :, 2:] - grey[..., :, :-2]
    slope[..., 1, 1:-1, :] = grey[..., 2:, :] - grey[..., :-2, :]
    return np.asarray(
        5 * slope / np.sqrt(np.linalg.norm(slope, axis=-3, keepdims=True) + 8), np.float32
    )


def _blur(images: FloatArray, width: float) -> FloatArray:
    """Blur `[.., side, side]`; a matrix product, since the sides are short."""
    matrix = _blur_matrix(images.shape[-1], width)
    right = images.reshape(-1, len(matrix)) @ matrix.T
    return np.asarray(matrix @ right.reshape(images.shape), np.float32)


@lru_cache(maxsize=16)
def _blur_matrix(side: int, width: float) -> FloatArray:
    """Return what blurs a line of `side` pixels, `[side, side]`."""
    return np.asarray(gaussian_filter1d(np.eye(side), width, axis=0, mode="nearest"), np.float32)

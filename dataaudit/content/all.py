"""Content evidence: how alike a suspect and a training row are, whatever was done to one of them.

One descriptor per modality, one cheap search for candidates, one exact comparison of the candidates:

- images: low-resolution thumbnails; candidates by correlation of 8 x 8 thumbnails (flipped and
  zoomed views of the suspect), compared by the largest normalised cross-correlation of the
  band-passed thumbnails over flips, zooms and shifts, on the overlap only (masked correlation:
  D. Padfield, "Masked object registration in the Fourier domain", IEEE TIP 2012);
- texts: hashed words and within-word character 4-grams of the folded text, compared by the cosine
  of their inverse-document-frequency weights;
- tables: agreement per column, weighted by how rare such an agreement is by chance
  (I. Fellegi and A. Sunter, "A theory for record linkage", JASA 1969).

Every comparison is a similarity in [-1, 1]; larger means more alike; 1 means the same content.
Nothing here imports torch.
"""

from __future__ import annotations

import io
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import sparse
from scipy.ndimage import gaussian_filter
from sklearn.feature_extraction.text import HashingVectorizer

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]

THUMBNAIL_SIDE = 32
COARSE_SIDE = 16
SEARCH_SIDE = 8
ZOOMS = (0.8, 0.9, 1.0, 1.12, 1.25)
SEARCH_ZOOMS = (0.8, 1.0, 1.25)
REFINED_CANDIDATES = 8
REFINED_STARTS = 2
COARSE_SHIFT = 2
FINE_SHIFT = 5
NOISE_FLOOR = 2.0
"""Standard deviation, in grey levels of 0..255, below which image detail counts as noise."""
UNSEEN_AREA_PENALTY = 0.3
FLIP_PENALTY = 0.03
REFINED_TEXTS = 10
MISSING_WORDS_SHARE = 0.05
SKETCH_WIDTH = 256
HASHED_FEATURES = 2**20


# --------------------------------------------------------------------------- descriptors


@dataclass(frozen=True)
class ImageDescriptors:
    """`thumbnails` [items, 32, 32, channels] uint8; channels is 1 (all grey) or 3."""

    thumbnails: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.thumbnails)

    def take(self, positions: IndexArray) -> ImageDescriptors:
        return ImageDescriptors(self.thumbnails[positions])


@dataclass(frozen=True)
class TextDescriptors:
    """Texts after folding, and how often each hashed word or character 4-gram occurs.

    `folded` [items] str; `counts` [items, 2**20] sparse.
    """

    folded: NDArray[np.object_]
    counts: sparse.csr_matrix

    def __len__(self) -> int:
        return int(self.counts.shape[0])

    def take(self, positions: IndexArray) -> TextDescriptors:
        return TextDescriptors(self.folded[positions], self.counts[positions])


@dataclass(frozen=True)
class TableDescriptors:
    """`numbers` [items, numeric columns] (NaN: missing), `categories` [items, other columns] as text."""

    numbers: NDArray[np.float64]
    categories: NDArray[np.object_]
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, positions: IndexArray) -> TableDescriptors:
        return replace(self, numbers=self.numbers[positions], categories=self.categories[positions])


Descriptors = ImageDescriptors | TextDescriptors | TableDescriptors


def concatenated(parts: Sequence[Descriptors]) -> Descriptors:
    """Join the descriptors of consecutive items; grey images beside colour ones become colour."""
    first = parts[0]
    if isinstance(first, ImageDescriptors):
        pictures = [part.thumbnails for part in parts if isinstance(part, ImageDescriptors)]
        channels = max(thumbnails.shape[3] for thumbnails in pictures)
        joined = [np.repeat(t, channels // t.shape[3], axis=3) for t in pictures]
        return ImageDescriptors(np.concatenate(joined))
    if isinstance(first, TextDescriptors):
        texts = [part for part in parts if isinstance(part, TextDescriptors)]
        return TextDescriptors(
            np.concatenate([part.folded for part in texts]),
            sparse.vstack([part.counts for part in texts], format="csr"),
        )
    raise TypeError(f"{type(first).__name__} are described all at once")


def describe_images(images: Sequence[Image.Image | bytes | ArrayLike]) -> ImageDescriptors:
    """Describe images of any size by thumbnails of 32 x 32 pixels.

    Args:
        images: each a PIL image, the bytes of an image file, or an array [height, width] or
            [height, width, channels]: uint8, or floats in 0..1.

    Returns:
        One thumbnail for each image, in order; grey if all images are grey.

    Raises:
        ValueError: an array has a shape or a range that is not an image; the position is named.
    """
    pictures = [_as_picture(image, position) for position, image in enumerate(images)]
    mode = "L" if all(picture.mode == "L" for picture in pictures) else "RGB"
    thumbnails = np.empty((len(pictures), THUMBNAIL_SIDE, THUMBNAIL_SIDE, len(mode)), np.uint8)
    for thumbnail, picture in zip(thumbnails, pictures, strict=True):
        thumbnail[...] = _thumbnail(picture.convert(mode)).reshape(thumbnail.shape)
    return ImageDescriptors(thumbnails)


def describe_texts(texts: Sequence[str]) -> TextDescriptors:
    """Describe texts by the words and character 4-grams left after folding case and punctuation."""
    folded = [fold_text(text) for text in texts]
    words, grams = _vectorizers()
    counts = sparse.csr_matrix(words.transform(folded) + grams.transform(folded))
    return TextDescriptors(np.array(folded, object), counts)


def describe_table(
    table: pd.DataFrame, like: pd.DataFrame | None = None
) -> TableDescriptors | ImageDescriptors:
    """Describe table rows; columns that are the pixels of small images are described as images.

    Args:
        table: the rows; a column is numeric if its dtype in `like` is.
        like: the training table, where `table` holds suspects, so that both are read alike.

    Raises:
        ValueError: `table` lacks a column of `like`.
    """
    like = table if like is None else like
    missing = [str(name) for name in like.columns if name not in table.columns]
    if missing:
        raise ValueError(f"suspects lack the columns {missing} of the training table")
    grid = pixel_grid(like)
    if grid is not None:
        return _describe_pixel_table(table[list(like.columns)], like, grid)
    numeric = [c for c in like.columns if _is_numeric(like[c])]
    others = [c for c in like.columns if not _is_numeric(like[c])]
    numbers = np.column_stack(
        [pd.to_numeric(table[c], errors="coerce").to_numpy(np.float64) for c in numeric]
        or [np.empty((len(table), 0))]
    )
    categories = np.column_stack(
        [_as_categories(table[c]) for c in others] or [np.empty((len(table), 0), object)]
    )
    return TableDescriptors(numbers, categories, tuple(map(str, numeric + others)))


def fold_text(text: str) -> str:
    """Return the text without case, punctuation, accents' encoding and repeated blanks."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(c if c.isalnum() else "" if c in "'’" else " " for c in folded)
    return " ".join(kept.split())


# --------------------------------------------------------------------------- the two public steps


def find_candidates(
    suspects: Descriptors,
    rows: Descriptors,
    count: int = 50,
    exclude: IndexArray | None = None,
    block_bytes: int = 2**27,
) -> IndexArray:
    """Find the rows most likely to be alike, by a cheap exact search in blocks of bounded memory.

    Args:
        suspects, rows: descriptors of one modality.
        count: candidates for each suspect; fewer where there are fewer rows.
        exclude: [suspects] position of one row each suspect must not be matched with (itself,
            where suspects are rows), or -1.
        block_bytes: size of the largest similarity block held in memory.

    Returns:
        [suspects, count] positions of rows, best first; -1 fills up where rows are too few.
    """
    if type(suspects) is not type(rows):
        raise ValueError(f"cannot compare {type(suspects).__name__} with {type(rows).__name__}")
    views, vectors = _search_vectors(suspects, rows)
    return _nearest(views, vectors, count, exclude, block_bytes)


@dataclass(frozen=True)
class Comparison:
    """How alike pairs are, both [suspects, candidates]; larger is more alike; -inf for no pair.

    `similarity` is at most 1 (the same content) and meant for people; `score` is unbounded and
    meant for decisions: it orders pairs by how unlikely they are to be alike by chance.
    """

    similarity: FloatArray
    score: FloatArray


@dataclass(frozen=True)
class Matches:
    """Best matches, best first, all [suspects, kept]; `rows` holds positions, -1 for none."""

    rows: IndexArray
    similarity: FloatArray
    score: FloatArray


def compare(suspects: Descriptors, rows: Descriptors, candidates: IndexArray) -> Comparison:
    """Compare each suspect exactly with its candidate rows ([suspects, candidates], -1: none)."""
    comparer = _comparer(suspects, rows)
    similarity = np.full(candidates.shape, -np.inf, np.float32)
    score = similarity.copy()
    for position, row_positions in enumerate(candidates):
        present = row_positions >= 0
        if present.any():
            alike, evidence = comparer(position, row_positions[present])
            similarity[position, present], score[position, present] = alike, evidence
    return Comparison(similarity, score)


def match(
    suspects: Descriptors,
    rows: Descriptors,
    keep: int = 5,
    count: int = 50,
    exclude: IndexArray | None = None,
) -> Matches:
    """Find candidates, compare them, and keep the best by score; equal scores keep row order."""
    candidates = find_candidates(suspects, rows, count, exclude)
    found = compare(suspects, rows, candidates)
    order = np.lexsort((candidates, -found.score), axis=1)[:, :keep]
    return Matches(
        *(np.take_along_axis(a, order, 1) for a in (candidates, found.similarity, found.score))
    )


# --------------------------------------------------------------------------- search


def _search_vectors(suspects: Descriptors, rows: Descriptors) -> tuple[FloatArray, FloatArray]:
    """Return unit vectors: [suspects, views, width] and [rows, width]."""
    if isinstance(suspects, ImageDescriptors) and isinstance(rows, ImageDescriptors):
        suspects, rows = _same_channels(suspects, rows)
        return _image_views(suspects), _centred(_shrink(rows.thumbnails, SEARCH_SIDE))
    if isinstance(suspects, TextDescriptors) and isinstance(rows, TextDescriptors):
        weights = _inverse_document_frequency(rows)
        return _sketch(suspects.counts, weights)[:, None], _sketch(rows.counts, weights)
    assert isinstance(suspects, TableDescriptors) and isinstance(rows, TableDescriptors)
    scheme = TableScheme(rows)
    return _sketch(scheme.tokens(suspects))[:, None], _sketch(scheme.tokens(rows))


def _nearest(
    views: FloatArray,
    vectors: FloatArray,
    count: int,
    exclude: IndexArray | None,
    block_bytes: int,
) -> IndexArray:
    """Return [suspects, count] rows of largest inner product with any view of the suspect."""
    kept = min(count, len(vectors))
    found = np.full((len(views), count), -1, np.int64)
    if kept == 0:
        return found
    row_block = max(1, min(len(vectors), 2**16))
    query_block = max(1, block_bytes // (4 * row_block * 2))
    for start in range(0, len(views), query_block):
        block = views[start : start + query_block]
        best_value = np.full((len(block), 0), -np.inf, np.float32)
        best_row = np.full((len(block), 0), -1, np.int64)
        for first in range(0, len(vectors), row_block):
            part = vectors[first : first + row_block]
            value = block[:, 0] @ part.T
            for view in range(1, block.shape[1]):
                np.maximum(value, block[:, view] @ part.T, out=value)
            if exclude is not None:
                own = exclude[start : start + len(block)] - first
                inside = np.flatnonzero((own >= 0) & (own < len(part)))
                value[inside, own[inside]] = -np.inf
            best_value, best_row = _merge(best_value, best_row, value, first, kept)
        best_row[best_value == -np.inf] = -1
        found[start : start + len(block), : best_row.shape[1]] = best_row
    return found


def _merge(
    best_value: FloatArray, best_row: IndexArray, value: FloatArray, first: int, kept: int
) -> tuple[FloatArray, IndexArray]:
    """Merge a block of similarities into the running best, best first, ties by row."""
    if value.shape[1] > kept:
        part = np.argpartition(-value, kept - 1, axis=1)[:, :kept]
        value = np.take_along_axis(value, part, 1)
        rows = part.astype(np.int64) + first
    else:
        rows = np.broadcast_to(np.arange(first, first + value.shape[1]), value.shape)
    value = np.concatenate([best_value, value], 1)
    rows = np.concatenate([best_row, rows], 1)
    order = np.lexsort((rows, -value), axis=1)[:, :kept]
    return np.take_along_axis(value, order, 1), np.take_along_axis(rows, order, 1)


def _sketch(features: sparse.csr_matrix, weights: FloatArray | None = None) -> FloatArray:
    """Project sparse features to unit vectors of 256 numbers by signed hashing (count sketch).

    Inner products are kept on average, with standard error about 1/16 (K. Weinberger et al.,
    "Feature hashing for large scale multitask learning", ICML 2009).
    """
    generator = np.random.default_rng(20402)
    width = features.shape[1]
    bucket = generator.integers(0, SKETCH_WIDTH, width)
    sign = generator.choice(np.array([-1.0, 1.0], np.float32), width)
    if weights is not None:
        sign = sign * weights
    projection = sparse.csr_matrix(
        (sign.astype(np.float32), (np.arange(width), bucket)), shape=(width, SKETCH_WIDTH)
    )
    return _unit(np.asarray((features @ projection).todense(), np.float32))


def _unit(vectors: NDArray[Any]) -> FloatArray:
    flat = vectors.reshape(len(vectors), int(np.prod(vectors.shape[1:]))).astype(np.float32)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(length, 1e-6), np.float32)


# --------------------------------------------------------------------------- comparison


Comparer = Callable[[int, IndexArray], tuple[FloatArray, FloatArray]]
"""(position of a suspect, positions of rows) -> similarity and score, both [rows]."""


def _comparer(suspects: Descriptors, rows: Descriptors) -> Comparer:
    if isinstance(suspects, ImageDescriptors) and isinstance(rows, ImageDescriptors):
        return _image_comparer(*_same_channels(suspects, rows))
    if isinstance(suspects, TextDescriptors) and isinstance(rows, TextDescriptors):
        return _text_comparer(suspects, rows)
    assert isinstance(suspects, TableDescriptors) and isinstance(rows, TableDescriptors)
    return _table_comparer(suspects, rows)


def _image_comparer(suspects: ImageDescriptors, rows: ImageDescriptors) -> Comparer:
    """Coarse alignment of all candidates, then fine alignment and closer look at the best few."""
    coarse = alignments(COARSE_SIDE, COARSE_SHIFT)

    def compare_one(position: int, row_positions: IndexArray) -> tuple[FloatArray, FloatArray]:
        thumbnail = suspects.thumbnails[position : position + 1]
        candidates = rows.thumbnails[row_positions]
        correlation = coarse.correlate(
            _band_pass(_shrink(thumbnail, COARSE_SIDE))[0],
            _band_pass(_shrink(candidates, COARSE_SIDE)),
        )
        similarity = correlation.max(0)
        best = np.argsort(-similarity, kind="stable")[:REFINED_CANDIDATES]
        starts = np.argsort(-correlation[:, best], axis=0, kind="stable")[:REFINED_STARTS].T
        refined = _refine(thumbnail, candidates[best], starts)
        rest = np.ones(len(similarity), bool)
        rest[best] = False
        # a candidate that was not refined never overtakes one that was
        similarity[rest] = np.minimum(similarity[rest], refined.min())
        similarity[best] = refined
        return similarity, np.arctanh(similarity.clip(-0.995, 0.995))

    return compare_one


def _text_comparer(suspects: TextDescriptors, rows: TextDescriptors) -> Comparer:
    weights = _inverse_document_frequency(rows)
    left, right = _unit_rows(suspects.counts, weights), _unit_rows(rows.counts, weights)
    rarity = WordRarity(rows)

    def compare_one(position: int, row_positions: IndexArray) -> tuple[FloatArray, FloatArray]:
        cosine = np.asarray((right[row_positions] @ left[position].T).todense(), np.float32)[:, 0]
        similarity = np.zeros(len(row_positions), np.float32)
        best = np.argsort(-cosine, kind="stable")[:REFINED_TEXTS]
        for place in best:
            row = int(row_positions[place])
            similarity[place] = rarity.similarity(suspects.folded[position], rows.folded[row])
        # equal words in another order: the one with more common 4-grams first
        return similarity, -np.log(1.02 - similarity) + 1e-3 * cosine

    return compare_one


def _table_comparer(suspects: TableDescriptors, rows: TableDescriptors) -> Comparer:
    scheme = TableScheme(rows)

    def compare_one(position: int, row_positions: IndexArray) -> tuple[FloatArray, FloatArray]:
        one = suspects.take(np.array([position]))
        nats = scheme.log_likelihood_ratio(one, rows.take(row_positions))
        most = float(scheme.log_likelihood_ratio(one, one)[0])
        similarity = (nats / max(most, 1e-9)).clip(-1, 1)
        ordered = np.sort(nats)[::-1]
        rival = np.where(nats == ordered[0], ordered[min(1, len(nats) - 1)], ordered[0])
        score = nats - (most - nats) + (nats - rival) / 2
        return similarity.astype(np.float32), score.astype(np.float32)

    return compare_one


# --------------------------------------------------------------------------- images


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
        self.penalty = np.asarray(UNSEEN_AREA_PENALTY * unseen + FLIP_PENALTY * flipped, np.float32)

    def _windows(self, canvas: NDArray[Any]) -> FloatArray:
        windows = sliding_window_view(canvas, (self.side, self.side))
        return windows.reshape(-1, self.side**2).astype(np.float32)

    def views(self, image: FloatArray) -> FloatArray:
        """Return the moved copies of `image` [side, side, channels]: [alignments, channels, pixels]."""
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
        """Return [alignments, candidates] masked normalised cross-correlation less its penalty.

        Args:
            image: [side, side, channels], band-passed.
            candidates: [candidates, side, side, channels], band-passed.
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

    def moves(self, alignment: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return flip (0, 1), zoom (position in `ZOOMS`), down and right (from 0) of alignments."""
        shifts = 2 * self.largest_shift + 1
        shape = (2, len(self.zoom_matrices), shifts, shifts)
        return np.unravel_index(alignment, shape)


@lru_cache(maxsize=4)
def alignments(side: int, largest_shift: int) -> Alignments:
    return Alignments(side, largest_shift)


def _refine(suspect: NDArray[Any], candidates: NDArray[Any], starts: NDArray[Any]) -> FloatArray:
    """Correlate three kinds of detail at all alignments next to the coarse ones.

    Args:
        suspect: [1, 32, 32, channels]; candidates: [candidates, 32, 32, channels].
        starts: [candidates, starts] coarse alignments.

    Returns:
        [candidates] largest mean correlation over the kinds of detail, less its penalty.
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
    """Return [candidates, alignments] correlation where `mask` is 1.

    Args:
        moved: [candidates, alignments, channels, pixels]; other: [candidates, channels, pixels].
        mask: [candidates, alignments, pixels]; seen: [candidates, alignments] its sum.
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
    """Return the matrix [side + 2 margin, side] that zooms a line about its centre, and where it is seen."""
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


def _as_picture(image: Image.Image | bytes | ArrayLike, position: int) -> Image.Image:
    if isinstance(image, bytes | bytearray):
        image = Image.open(io.BytesIO(image))
    if isinstance(image, Image.Image):
        return image if image.mode in ("L", "RGB") else image.convert("RGB")
    array = np.asarray(image)
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


def _thumbnail(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.size == (THUMBNAIL_SIDE, THUMBNAIL_SIDE):
        return np.asarray(picture)
    larger = max(picture.size) > THUMBNAIL_SIDE
    method = Image.Resampling.BOX if larger else Image.Resampling.BILINEAR
    return np.asarray(picture.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), method))


def _same_channels(
    suspects: ImageDescriptors, rows: ImageDescriptors
) -> tuple[ImageDescriptors, ImageDescriptors]:
    channels = max(suspects.thumbnails.shape[3], rows.thumbnails.shape[3])
    shape = (THUMBNAIL_SIDE, THUMBNAIL_SIDE, channels)
    return (
        ImageDescriptors(np.broadcast_to(suspects.thumbnails, (len(suspects), *shape))),
        ImageDescriptors(np.broadcast_to(rows.thumbnails, (len(rows), *shape))),
    )


def _shrink(thumbnails: NDArray[Any], side: int) -> FloatArray:
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


def _centred(images: FloatArray) -> FloatArray:
    return _unit(images - images.mean((1, 2), keepdims=True))


def _image_views(suspects: ImageDescriptors) -> FloatArray:
    """Return [suspects, views, width]: flipped, zoomed and shifted small thumbnails, unit length."""
    small = _shrink(suspects.thumbnails, SEARCH_SIDE)
    small = small - small.mean((1, 2), keepdims=True)
    views = []
    for oriented in (small, small[:, :, ::-1]):
        for zoom in SEARCH_ZOOMS:
            matrix, _ = zoom_matrix(zoom, SEARCH_SIDE, 0)
            views.append(_unit(np.einsum("ij,njkc,lk->nilc", matrix, oriented, matrix)))
        blank = np.zeros_like(oriented[:, :1])
        views.append(_unit(np.concatenate([oriented[:, 1:], blank], 1)))
        views.append(_unit(np.concatenate([blank, oriented[:, :-1]], 1)))
        blank = np.zeros_like(oriented[:, :, :1])
        views.append(_unit(np.concatenate([oriented[:, :, 1:], blank], 2)))
        views.append(_unit(np.concatenate([blank, oriented[:, :, :-1]], 2)))
    return np.stack(views, 1)


# --------------------------------------------------------------------------- texts


@lru_cache(maxsize=1)
def _vectorizers() -> tuple[HashingVectorizer, HashingVectorizer]:
    common = {"n_features": HASHED_FEATURES, "alternate_sign": False, "norm": None}
    common |= {"lowercase": False, "dtype": np.float32}
    words = HashingVectorizer(analyzer="word", token_pattern=r"\S+", **common)
    grams = HashingVectorizer(analyzer="char_wb", ngram_range=(4, 4), **common)
    return words, grams


class WordRarity:
    """How rare each word is among the training rows, and how alike two texts are by their words."""

    def __init__(self, rows: TextDescriptors) -> None:
        holding = Counter(word for text in rows.folded for word in set(text.split()))
        self.weights = {w: math.log((1 + len(rows)) / (1 + n)) + 0.5 for w, n in holding.items()}
        self.unseen = math.log(1 + len(rows)) + 0.5

    def similarity(self, suspect: str, row: str) -> float:
        """Return shared / (shared + rest of the suspect + a twentieth of the row's), in rarity.

        Words that a suspect lacks cost little, words of its own cost much: an edited copy mostly
        drops words, while a natural near-twin of a row has its own (A. Tversky, "Features of
        similarity", Psychological Review 1977).
        """
        suspect_stream, row_stream = suspect.replace(" ", ""), row.replace(" ", "")
        if suspect_stream == row_stream:
            return 1.0
        words, others = Counter(suspect.split()), Counter(row.split())
        shared = sum(self._weight(w) * n for w, n in (words & others).items())
        own_rest = self._rest(words - others, row_stream)
        row_rest = self._rest(others - words, suspect_stream)
        total = shared + own_rest + MISSING_WORDS_SHARE * row_rest
        return shared / total if total > 0 else 0.0

    def _weight(self, word: str) -> float:
        return self.weights.get(word, self.unseen)

    def _rest(self, words: Counter[str], stream: str) -> float:
        """Weight of the words not in the other text, wherever its blanks are."""
        return sum(
            self._weight(word) * n
            for word, n in words.items()
            if not (len(word) >= 3 and word in stream)
        )


def _inverse_document_frequency(rows: TextDescriptors) -> FloatArray:
    """Return [features] ln((1 + rows) / (1 + rows holding the feature)) + 1."""
    holding = np.bincount(rows.counts.indices, minlength=rows.counts.shape[1])
    return np.asarray(np.log((1 + len(rows)) / (1 + holding)) + 1, np.float32)


def _unit_rows(counts: sparse.csr_matrix, weights: FloatArray) -> sparse.csr_matrix:
    """Return sublinear counts times weights, each row of unit length."""
    weighted = counts.copy()
    weighted.data = (1 + np.log(weighted.data)) * weights[weighted.indices]
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1))[:, 0])
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(length, 1e-9)) @ weighted)


# --------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class CopyModel:
    """How likely a copied field stays the same, is rounded, or is changed to something else."""

    same: float
    rounded: float
    changed: float
    changed_category: float


PLAIN_COPY = CopyModel(same=0.95, rounded=0.01, changed=0.03, changed_category=0.03)
ROUNDED_COPY = CopyModel(same=0.50, rounded=0.49, changed=0.005, changed_category=0.005)
NEARNESS = 0.2
"""A changed number is likelier near than far: density NEARNESS * share ** (NEARNESS - 1)."""
GRAINS = np.array([m * 10.0**e for e in range(-4, 7) for m in (1, 2, 5)])


def is_rounding(value: float, other: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where one of two unequal numbers is the other, rounded to 1, 2 or 5 times 10**k."""
    grain = GRAINS[:, None]
    near = np.abs(value - other) <= grain / 2 * (1 + 1e-9)
    whole = np.abs(value / grain - np.rint(value / grain)) < 1e-6
    other_whole = np.abs(other / grain - np.rint(other / grain)) < 1e-6
    return np.asarray((near & (whole | other_whole)).any(0))


class TableScheme:
    """How rare each value is among the training rows, and what an agreement is worth, in nats."""

    def __init__(self, rows: TableDescriptors) -> None:
        self.rows = max(len(rows), 1)
        self.sorted_numbers = [np.sort(column[~np.isnan(column)]) for column in rows.numbers.T]
        self.frequencies = [
            pd.Series(column).value_counts().to_dict() for column in rows.categories.T
        ]

    def log_likelihood_ratio(
        self, one: TableDescriptors, rows: TableDescriptors
    ) -> NDArray[np.float64]:
        """Return [rows] nats for "the single row `one` was copied from this row" against chance.

        A copy is either a plain one, in which a field may have been changed, or a rounded one;
        both are equally likely beforehand.
        """
        hypotheses = [self._copied(one, rows, edit) for edit in (PLAIN_COPY, ROUNDED_COPY)]
        return np.asarray(np.logaddexp(*hypotheses) - np.log(2))

    def _copied(
        self, one: TableDescriptors, rows: TableDescriptors, edit: CopyModel
    ) -> NDArray[np.float64]:
        total = np.zeros(len(rows))
        for column, known in enumerate(self.sorted_numbers):
            total += self._number_evidence(
                known, float(one.numbers[0, column]), rows.numbers[:, column], edit
            )
        for column, frequency in enumerate(self.frequencies):
            value = one.categories[0, column]
            share = float(self._share(frequency.get(value, 0)))
            total += np.where(
                rows.categories[:, column] == value,
                np.log((1 - edit.changed_category) / share),
                np.log(edit.changed_category / max(1 - share, edit.changed_category)),
            )
        return total

    def _share(self, holding: ArrayLike) -> NDArray[np.float64]:
        return np.asarray((np.asarray(holding) + 1.0) / (self.rows + 1.0)).clip(max=1.0)

    def _number_evidence(
        self, known: NDArray[np.float64], value: float, other: NDArray[np.float64], edit: CopyModel
    ) -> NDArray[np.float64]:
        """Nats for copying against the chance that a random row is at least as near to `value`."""
        if math.isnan(value):
            share = float(self._share(self.rows - len(known)))
            alike, apart = np.log(edit.same / share), np.log(edit.changed / max(1 - share, 0.01))
            return np.where(np.isnan(other), alike, apart)
        distance = np.abs(value - other)
        slack = 1e-9 * max(abs(value), 1.0)
        first = np.searchsorted(known, value - distance - slack, "left")
        last = np.searchsorted(known, value + distance + slack, "right")
        share = self._share(last - first)
        nats = np.select(
            [distance <= slack, is_rounding(value, other)],
            [np.log(edit.same / share), np.log(edit.rounded / share)],
            np.log(edit.changed * NEARNESS) - (1 - NEARNESS) * np.log(share),
        )
        return np.where(np.isnan(other), np.log(edit.changed), nats)

    def tokens(self, items: TableDescriptors) -> sparse.csr_matrix:
        """Return [items, features] hashed values and number ranges, weighted by their rarity."""
        parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        for column, frequency in enumerate(self.frequencies):
            values = items.categories[:, column]
            codes = pd.util.hash_array(values.astype(object)).astype(np.uint64)
            rarity = -np.log(self._share([frequency.get(v, 0) for v in values]))
            parts.append((_hashed(codes, f"category {column}"), rarity))
        for column, known in enumerate(self.sorted_numbers):
            parts.extend(self._number_tokens(items.numbers[:, column], known, column))
        if not parts:
            return sparse.csr_matrix((len(items), HASHED_FEATURES), dtype=np.float32)
        columns = np.stack([code for code, _ in parts], 1)
        data = np.sqrt(np.maximum(np.stack([nats for _, nats in parts], 1), 0)).astype(np.float32)
        starts = np.arange(len(items) + 1) * len(parts)
        shape = (len(items), HASHED_FEATURES)
        return sparse.csr_matrix((data.ravel(), columns.ravel(), starts), shape=shape)

    def _number_tokens(
        self, values: NDArray[np.float64], known: NDArray[np.float64], column: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Ranges of 1/8, 1/64 and 1/512 of the rows, each at two offsets, and the value itself."""
        low, high = np.searchsorted(known, values, "left"), np.searchsorted(known, values, "right")
        place = (low + high) / 2 / max(len(known), 1)
        share = self._share(high - low)
        above = np.ones(len(values))
        for bins in (8, 64, 512):
            here = np.maximum(1 / bins, share)
            for offset in (0.0, 0.5):
                code = np.floor(place * bins + offset).astype(np.int64).astype(np.uint64)
                name = f"number {column} {bins} {offset}"
                yield _hashed(code, name), np.log(above / here) / 2
            above = here
        code = pd.util.hash_array(values).astype(np.uint64)
        yield _hashed(code, f"number {column}"), np.log(above / share)


def _hashed(codes: NDArray[np.uint64], name: str) -> NDArray[np.int64]:
    salt = pd.util.hash_array(np.array([name], object))[0]
    mixed = pd.util.hash_array(codes ^ salt)
    return (mixed % np.uint64(HASHED_FEATURES)).astype(np.int64)


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _as_categories(column: pd.Series) -> NDArray[np.object_]:
    """Return folded text; missing values are a category of their own."""
    text = column.astype(object).where(column.notna(), "")
    return np.array([fold_text(str(value)) for value in text], object)


def pixel_grid(table: pd.DataFrame) -> tuple[int, int] | None:
    """Return (side, channels) if the columns are the pixels of square images, row by row.

    They are taken for pixels if there are side**2 or 3 * side**2 of them (side at least 6), all
    numeric on one common scale, and neighbours in the square correlate far more than others do.
    """
    for channels in (1, 3):
        side = round((table.shape[1] / channels) ** 0.5)
        if side >= 6 and side * side * channels == table.shape[1]:
            break
    else:
        return None
    if len(table) < 3 or not all(_is_numeric(table[c]) for c in table.columns):
        return None
    values = table.iloc[:2000].to_numpy(np.float64)
    if not np.isfinite(values).all():
        return None
    used = values.std(0) > 0
    if used.mean() < 0.3:
        return None
    return (side, channels) if _is_smooth(values, used, side, channels) else None


def _is_smooth(values: NDArray[np.float64], used: NDArray[Any], side: int, channels: int) -> bool:
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(values.T)
    place = np.arange(side * side * channels).reshape(side, side, channels)
    pairs = [(place[:, :-1], place[:, 1:]), (place[:-1], place[1:])]
    valid = np.outer(used, used)
    scores = [correlation[a.ravel(), b.ravel()][valid[a.ravel(), b.ravel()]] for a, b in pairs]
    off_diagonal = valid & ~np.eye(len(used), dtype=bool)
    if not off_diagonal.any() or any(len(s) == 0 for s in scores):
        return False
    typical = np.abs(correlation[off_diagonal]).mean()
    return bool(min(float(np.mean(s)) for s in scores) > max(0.3, typical + 0.1))


def _describe_pixel_table(
    table: pd.DataFrame, like: pd.DataFrame, grid: tuple[int, int]
) -> ImageDescriptors:
    side, channels = grid
    known = like.to_numpy(np.float64)
    low, high = known.min(), known.max()
    values = (table.to_numpy(np.float64) - low) / max(high - low, 1e-12)
    shape = (len(table), side, side, channels) if channels > 1 else (len(table), side, side)
    return describe_images(list(np.nan_to_num(values).clip(0, 1).reshape(shape)))

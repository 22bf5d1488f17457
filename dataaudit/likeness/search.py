"""Candidate search: the rows of largest inner product, in blocks of bounded memory.

The search is exact and needs no index: one matrix product per block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dataaudit.likeness.descriptors import FloatArray, IndexArray
from dataaudit.likeness.parts import is_done_elsewhere, one_by_one, parts_of

SKETCH_WIDTH = 256
HASHED_FEATURES = 2**20
ROWS_PER_BLOCK = 2**16
FIRST_BLOCK = 2**12
COMPARED_PER_STEP = 64
COMPARING = "comparing with training rows"
WHOLE_VIEWS = 2
"""Only the first views of a suspect are compared with all versions of a row."""

Ranked = tuple[FloatArray, IndexArray]
"""Values and the rows that they are of, `[suspects, rows]` both."""
Compared = tuple[FloatArray, FloatArray]
"""Similarity and score of pairs, as in `Comparison`."""


class PreparedRows(Protocol):
    """Training rows of one kind, with whatever does not depend on the suspects made once."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def vectors(self, part: slice) -> FloatArray:
        """Return unit vectors of some rows to search with, `[rows, versions, width]`."""
        ...

    def views(self, suspects: Any) -> FloatArray:
        """Return unit vectors of suspects of the same kind, `[suspects, views, width]`."""
        ...

    def compare(
        self, suspects: Any, candidates: IndexArray, exclude: IndexArray | None
    ) -> Compared:
        """Compare suspects with some rows, both results `[suspects, candidates]`, -inf for none.

        `exclude` `[suspects]` holds the position of each among the rows, -1 where it is none.
        """
        ...


def compare_each(
    compare_one: Callable[[int, IndexArray], Compared], candidates: IndexArray
) -> Compared:
    """Compare one suspect after the other with its candidates, `[suspects, candidates]`.

    `compare_one` takes the position of a suspect and those of rows, and returns both `[rows]`.
    """

    def compare_some(part: slice) -> Compared:
        similarity = np.full(candidates[part].shape, -np.inf, np.float32)
        score = similarity.copy()
        for line, row_positions in enumerate(candidates[part]):
            present = row_positions >= 0
            if present.any():
                alike, evidence = compare_one(part.start + line, row_positions[present])
                similarity[line, present], score[line, present] = alike, evidence
        return similarity, score

    parts = parts_of(len(candidates), COMPARED_PER_STEP)
    return joined(one_by_one(compare_some, parts, COMPARING), candidates)


def joined(compared: Iterable[Compared], candidates: IndexArray) -> Compared:
    """Return what was found of suspects that follow each other as one, `[suspects, candidates]`."""
    nothing = np.empty(candidates[:0].shape, np.float32)
    parts = [(nothing, nothing), *compared]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def nearest(
    views: Callable[[slice], FloatArray],
    suspects: int,
    vectors: Callable[[slice], FloatArray],
    rows: int,
    count: int,
    exclude: IndexArray | None,
    block_bytes: int,
) -> IndexArray:
    """Find the rows of largest inner product with any view of each suspect.

    Views and vectors are asked for in blocks, so that neither is ever held for all items.

    Parameters
    ----------
    views : callable, slice of suspects -> float32 `[suspects, views, width]`
    suspects : int
        How many there are.
    vectors : callable, slice of rows -> float32 `[rows, versions, width]`
    rows : int
        How many there are.
    count : int
        Rows to find for each suspect.
    exclude : int64 `[suspects]` or None
        Position of the one row that a suspect must not be matched with, or -1.
    block_bytes : int
        Size of the largest block of similarities held in memory.

    Returns
    -------
    int64 `[suspects, count]`
        Positions of rows, best first, the earlier row first where equal; -1 for none.
    """
    kept = min(count, rows)
    found = np.full((suspects, count), -1, np.int64)
    if kept == 0:
        return found
    best_value = np.full((suspects, kept), -np.inf, np.float32)
    best_row = np.full((suspects, kept), -1, np.int64)
    query_block = max(1, block_bytes // (4 * min(rows, ROWS_PER_BLOCK) * 2))
    blocks = [slice(i, i + query_block) for i in range(0, suspects, query_block)]
    views_of = _kept_views(views, blocks, block_bytes)

    def products(here: slice, part: slice, own_vectors: FloatArray) -> FloatArray:
        value = largest_products(views_of(here), own_vectors)
        if exclude is not None:
            own = exclude[here] - part.start
            inside = np.flatnonzero((own >= 0) & (own < len(own_vectors)))
            value[inside, own[inside]] = -np.inf
        return value

    def best_of_part(part: slice) -> list[Ranked]:
        own_vectors = vectors(part)
        return [_best(products(here, part, own_vectors), part.start, kept) for here in blocks]

    parts = [*_row_blocks(rows, kept)]
    if is_done_elsewhere():
        for found_there in one_by_one(best_of_part, parts, "searching the training rows"):
            for here, best in zip(blocks, found_there, strict=True):
                ranked = best_value[here], best_row[here]
                best_value[here], best_row[here] = _merged(ranked, best, kept)
        parts = []

    def see(part: slice) -> None:
        # A function, so that the vectors of a part are gone before the next ones are made.
        own_vectors = vectors(part)
        for here in blocks:
            value = products(here, part, own_vectors)
            ranked = best_value[here], best_row[here]
            if np.isneginf(best_value[here][:, -1]).any():
                better = _best(value, part.start, kept)
            else:
                # Few rows of a later block are better than the best of those before.
                better = _larger(value, best_value[here][:, -1], part.start)
            best_value[here], best_row[here] = _merged(ranked, better, kept)

    for part in parts:
        see(part)
    best_row[best_value == -np.inf] = -1
    found[:, :kept] = best_row
    return found


def _row_blocks(rows: int, kept: int) -> Iterator[slice]:
    """Yield blocks of rows; the first is short, since all of it has to be put in order."""
    start, length = 0, min(ROWS_PER_BLOCK, max(FIRST_BLOCK, kept))
    while start < rows:
        yield slice(start, min(start + length, rows))
        start, length = start + length, ROWS_PER_BLOCK


def _kept_views(
    views: Callable[[slice], FloatArray], blocks: list[slice], largest: int
) -> Callable[[slice], FloatArray]:
    """Return `views`, worked out once for each block where all together take few bytes."""
    if not blocks:
        return views
    first = views(blocks[0])
    if first.nbytes * len(blocks) > largest:
        return views
    kept = {blocks[0].start: first} | {block.start: views(block) for block in blocks[1:]}
    return lambda block: kept[block.start]


def largest_products(views: FloatArray, vectors: FloatArray) -> FloatArray:
    """Return `[suspects, rows]`: the largest inner product over views and versions."""
    value = views[:, 0] @ vectors[:, 0].T
    for view in range(views.shape[1]):
        for version in range(vectors.shape[1] if view < WHOLE_VIEWS else 1):
            if view or version:
                np.maximum(value, views[:, view] @ vectors[:, version].T, out=value)
    return value


def _merged(one: Ranked, other: Ranked, kept: int) -> Ranked:
    """Return the best of both, best first, ties by row."""
    value = np.concatenate([one[0], other[0]], 1)
    rows = np.concatenate([one[1], other[1]], 1)
    order = np.lexsort((rows, -value), axis=1)[:, :kept]
    return np.take_along_axis(value, order, 1), np.take_along_axis(rows, order, 1)


def _best(value: FloatArray, first: int, kept: int) -> Ranked:
    """Return the best entries of each line, best first, ties by row, and their rows."""
    place = value.shape[1] - min(kept, value.shape[1])
    least = np.partition(value, place, axis=1)[:, place]
    # Those equal to the last, too: else it would be left to chance which of them are kept.
    nothing = np.empty((len(value), 0), np.float32), np.empty((len(value), 0), np.int64)
    return _merged(_larger(value, np.nextafter(least, -np.inf), first), nothing, kept)


def _larger(value: FloatArray, least: FloatArray, first: int) -> Ranked:
    """Return the entries of each line above `least`, and their rows; -inf and -1 fill up."""
    line, column = np.nonzero(value > least[:, None])
    counts = np.bincount(line, minlength=len(value))
    place = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = int(counts.max(initial=0))
    larger = np.full((len(value), width), -np.inf, np.float32)
    rows = np.full((len(value), width), -1, np.int64)
    larger[line, place], rows[line, place] = value[line, column], column + first
    return larger, rows


def sketch_projection(width: int, weights: FloatArray | None = None) -> sparse.csr_matrix:
    """Return what sketches `[items, width]` sparse features: signed hashing to 256 numbers.

    Inner products are kept on average, with standard error about 1/16 (K. Weinberger et al.,
    "Feature hashing for large scale multitask learning", ICML 2009).
    """
    generator = np.random.default_rng(20402)
    bucket = generator.integers(0, SKETCH_WIDTH, width)
    sign = generator.choice(np.array([-1.0, 1.0], np.float32), width)
    if weights is not None:
        sign = sign * weights
    return sparse.csr_matrix(
        (sign.astype(np.float32), (np.arange(width), bucket)), shape=(width, SKETCH_WIDTH)
    )


def sketch(features: sparse.csr_matrix, projection: sparse.csr_matrix) -> FloatArray:
    """Return unit vectors `[items, 1, 256]` to search with."""
    return unit(np.asarray((features @ projection).todense(), np.float32))[:, None]


def unit(vectors: NDArray[Any]) -> FloatArray:
    """Flatten each item and scale it to length 1."""
    flat = vectors.reshape(len(vectors), int(np.prod(vectors.shape[1:]))).astype(np.float32)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(length, 1e-6), np.float32)

"""Candidate search: the rows of largest inner product, in blocks of bounded memory.

The search is exact and needs no index: one matrix product per block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dataaudit.content.descriptors import FloatArray, IndexArray

SKETCH_WIDTH = 256
HASHED_FEATURES = 2**20
WHOLE_VIEWS = 2
"""Only the first views of a suspect are compared with all versions of a row."""

Comparer = Callable[[int, IndexArray], tuple[FloatArray, FloatArray]]
"""(position of a suspect, positions of rows) -> similarity and score, both [rows]."""


def nearest(
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
            value = block[:, 0] @ part[:, 0].T
            for view in range(block.shape[1]):
                for version in range(part.shape[1] if view < WHOLE_VIEWS else 1):
                    if view or version:
                        np.maximum(value, block[:, view] @ part[:, version].T, out=value)
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


def sketch(features: sparse.csr_matrix, weights: FloatArray | None = None) -> FloatArray:
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
    return unit(np.asarray((features @ projection).todense(), np.float32))


def unit(vectors: NDArray[Any]) -> FloatArray:
    """Flatten each item and scale it to length 1."""
    flat = vectors.reshape(len(vectors), int(np.prod(vectors.shape[1:]))).astype(np.float32)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(length, 1e-6), np.float32)

"""Matching: the rows most alike to each suspect, whatever was done to one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataaudit.content.descriptors import (
    Descriptors,
    FloatArray,
    ImageDescriptors,
    IndexArray,
    SmallImageDescriptors,
    TableDescriptors,
    TextDescriptors,
)
from dataaudit.content.images import image_comparer, image_search_vectors
from dataaudit.content.search import Comparer, nearest
from dataaudit.content.small_images import match_small_images
from dataaudit.content.tables import table_comparer, table_search_vectors
from dataaudit.content.texts import text_comparer, text_search_vectors
from dataaudit.progress import track

SMALL_IMAGE_FLOOR = 1e-3
"""Differences in similarity of small images below this count for little."""


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


def match(
    suspects: Descriptors,
    rows: Descriptors,
    keep: int = 5,
    count: int = 50,
    exclude: IndexArray | None = None,
) -> Matches:
    """Find candidates, compare them, and keep the best by score; equal scores keep row order.

    Parameters
    ----------
    suspects, rows : Descriptors
        Of one kind.
    keep : int
        Matches to keep for each suspect.
    count : int
        Candidates to compare for each suspect.
    exclude : int64 `[suspects]` or None
        The one row that a suspect must not be matched with (itself, where suspects are rows).

    Raises
    ------
    ValueError
        The descriptors are of different kinds.
    """
    if isinstance(suspects, SmallImageDescriptors) and isinstance(rows, SmallImageDescriptors):
        positions, similarity = match_small_images(suspects, rows, keep, exclude)
        return Matches(positions, similarity, -np.log(1 + SMALL_IMAGE_FLOOR - similarity))
    candidates = find_candidates(suspects, rows, count, exclude)
    found = compare(suspects, rows, candidates)
    order = np.lexsort((candidates, -found.score), axis=1)[:, :keep]
    return Matches(
        np.take_along_axis(candidates, order, axis=1),
        np.take_along_axis(found.similarity, order, axis=1),
        np.take_along_axis(found.score, order, axis=1),
    )


def find_candidates(
    suspects: Descriptors,
    rows: Descriptors,
    count: int = 50,
    exclude: IndexArray | None = None,
    block_bytes: int = 2**27,
) -> IndexArray:
    """Find the rows most likely to be alike, by a cheap exact search in blocks of bounded memory.

    Parameters
    ----------
    suspects, rows : Descriptors
        Of one kind.
    count : int
        Candidates for each suspect.
    exclude : int64 `[suspects]` or None
        Position of the one row that a suspect must not be matched with, or -1.
    block_bytes : int
        Size of the largest block of similarities held in memory.

    Returns
    -------
    int64 `[suspects, count]`
        Positions of rows, best first; -1 fills up where rows are too few.
    """
    views, vectors = _search_vectors(suspects, rows)
    return nearest(views, vectors, count, exclude, block_bytes)


def compare(suspects: Descriptors, rows: Descriptors, candidates: IndexArray) -> Comparison:
    """Compare each suspect exactly with its candidate rows ([suspects, candidates], -1: none)."""
    comparer = _comparer(suspects, rows)
    similarity = np.full(candidates.shape, -np.inf, np.float32)
    score = similarity.copy()
    for position, row_positions in enumerate(track(candidates, "comparing with training rows")):
        present = row_positions >= 0
        if present.any():
            alike, evidence = comparer(position, row_positions[present])
            similarity[position, present], score[position, present] = alike, evidence
    return Comparison(similarity, score)


def same_content(suspects: Descriptors, rows: Descriptors, suspect: int, row: int) -> bool:
    """Tell whether a suspect and a row are described by the very same values."""
    left, right = suspects.take(np.array([suspect])), rows.take(np.array([row]))
    if isinstance(left, ImageDescriptors) and isinstance(right, ImageDescriptors):
        return bool(np.array_equal(left.thumbnails, right.thumbnails))
    if isinstance(left, SmallImageDescriptors) and isinstance(right, SmallImageDescriptors):
        return bool(np.array_equal(left.pixels, right.pixels))
    if isinstance(left, TextDescriptors) and isinstance(right, TextDescriptors):
        return bool(left.folded[0] == right.folded[0])
    if isinstance(left, TableDescriptors) and isinstance(right, TableDescriptors):
        numbers = np.array_equal(left.numbers, right.numbers, equal_nan=True)
        return numbers and bool(np.array_equal(left.categories, right.categories))
    return False


def _search_vectors(suspects: Descriptors, rows: Descriptors) -> tuple[FloatArray, FloatArray]:
    """Return unit vectors: `[suspects, views, width]` and `[rows, versions, width]`."""
    if isinstance(suspects, ImageDescriptors) and isinstance(rows, ImageDescriptors):
        return image_search_vectors(suspects, rows)
    if isinstance(suspects, TextDescriptors) and isinstance(rows, TextDescriptors):
        return text_search_vectors(suspects, rows)
    if isinstance(suspects, TableDescriptors) and isinstance(rows, TableDescriptors):
        return table_search_vectors(suspects, rows)
    raise ValueError(f"cannot compare {type(suspects).__name__} with {type(rows).__name__}")


def _comparer(suspects: Descriptors, rows: Descriptors) -> Comparer:
    if isinstance(suspects, ImageDescriptors) and isinstance(rows, ImageDescriptors):
        return image_comparer(suspects, rows)
    if isinstance(suspects, TextDescriptors) and isinstance(rows, TextDescriptors):
        return text_comparer(suspects, rows)
    if isinstance(suspects, TableDescriptors) and isinstance(rows, TableDescriptors):
        return table_comparer(suspects, rows)
    raise ValueError(f"cannot compare {type(suspects).__name__} with {type(rows).__name__}")

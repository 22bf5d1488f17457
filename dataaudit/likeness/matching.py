"""Matching: the rows most alike to each suspect, whatever was done to one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataaudit.likeness.cells import Cells, Depth, enough
from dataaudit.likeness.descriptors import (
    Descriptors,
    FloatArray,
    ImageDescriptors,
    IndexArray,
    SmallImageDescriptors,
    TableDescriptors,
    TextDescriptors,
)
from dataaudit.likeness.images import ImageRows
from dataaudit.likeness.search import PreparedRows, nearest
from dataaudit.likeness.small_images import match_small_images
from dataaudit.likeness.tables import TableRows
from dataaudit.likeness.texts import TextRows

BLOCK_BYTES = 2**27
MOST_PICTURE_PAIRS = 10**8
"""Up to so many pairs of pictures are all looked at; each takes some 10,000 multiplications."""
FEW_ROWS = 10_000
"""Among so few rows all are looked at, however many suspects there are."""
PLANTED_COPIES = 400
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


class Matcher:
    """Finds the rows most alike to suspects; prepared once, for any number of suspects.

    `notes` say what a search that does not look at all rows may have lost.
    """

    def __init__(self, rows: Descriptors) -> None:
        self.rows = rows
        self.notes: list[str] = []
        self._cells: dict[int, tuple[Cells, Depth]] = {}
        self._prepared = None if isinstance(rows, SmallImageDescriptors) else _prepare(rows)

    def match(
        self,
        suspects: Descriptors,
        keep: int = 5,
        count: int = 50,
        exclude: IndexArray | None = None,
    ) -> Matches:
        """Find candidates, compare them, and keep the best by score; equal ones keep row order.

        Parameters
        ----------
        suspects : Descriptors
            Of the same kind as the rows.
        keep : int
            Matches to keep for each suspect.
        count : int
            Candidates to compare for each suspect.
        exclude : int64 `[suspects]` or None
            The one row that a suspect must not be matched with (itself, where it is a row).

        Raises
        ------
        ValueError
            The descriptors are of different kinds.
        """
        if isinstance(suspects, SmallImageDescriptors) and isinstance(
            self.rows, SmallImageDescriptors
        ):
            positions, similarity = match_small_images(suspects, self.rows, keep, exclude)
            return Matches(positions, similarity, -np.log(1 + SMALL_IMAGE_FLOOR - similarity))
        candidates = self.candidates(suspects, count, exclude)
        found = self.compare(suspects, candidates, exclude)
        order = np.lexsort((candidates, -found.similarity, -found.score), axis=1)[:, :keep]
        return Matches(
            np.take_along_axis(candidates, order, axis=1),
            np.take_along_axis(found.similarity, order, axis=1),
            np.take_along_axis(found.score, order, axis=1),
        )

    def scores_of_pairs(self, suspects: Descriptors, rows: IndexArray) -> FloatArray:
        """Return `[suspects]` scores of each suspect with the one row given, `[suspects]`."""
        if isinstance(suspects, SmallImageDescriptors):
            return np.full(len(suspects), -np.log(SMALL_IMAGE_FLOOR), np.float32)
        return self.compare(suspects, rows[:, None]).score[:, 0]

    def candidates(
        self,
        suspects: Descriptors,
        count: int = 50,
        exclude: IndexArray | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> IndexArray:
        """Find the rows most likely to be alike, by a cheap search of bounded memory.

        It looks at all rows, but for more pairs of pictures than `MOST_PICTURE_PAIRS`.

        Parameters
        ----------
        suspects : Descriptors
            Of the same kind as the rows.
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
        prepared = self._prepared_for(suspects)
        positions = np.arange(len(suspects))

        def views(part: slice) -> FloatArray:
            return prepared.views(suspects.take(positions[part]))

        many = len(prepared) > FEW_ROWS and len(suspects) * len(prepared) > MOST_PICTURE_PAIRS
        if isinstance(prepared, ImageRows) and many:
            cells, depth = self._cells_of(prepared, count)
            return cells.nearest(views, len(suspects), count, exclude, depth.cells, depth.finer)
        return nearest(
            views, len(suspects), prepared.vectors, len(prepared), count, exclude, block_bytes
        )

    def _cells_of(self, prepared: ImageRows, count: int) -> tuple[Cells, Depth]:
        """Sort the pictures into cells once, and find how many of these are enough."""
        if prepared.channels not in self._cells:
            cells = Cells(prepared.vectors, len(prepared))
            generator = np.random.default_rng(0)
            sources = generator.choice(len(prepared), PLANTED_COPIES, replace=False)
            copies = prepared.copies(sources, generator)

            def views(part: slice) -> FloatArray:
                return prepared.views(copies.take(np.arange(PLANTED_COPIES)[part]))

            def found_by_all(some: IndexArray) -> NDArray[np.bool_]:
                near = nearest(
                    lambda part: prepared.views(copies.take(some[part])),
                    len(some),
                    prepared.vectors,
                    len(prepared),
                    count,
                    None,
                    BLOCK_BYTES,
                )
                return np.asarray((near == sources[some, None]).any(axis=1))

            depth = enough(cells, views, sources, count, found_by_all)
            self._cells[prepared.channels] = cells, depth
            self.notes.append(str(depth))
        return self._cells[prepared.channels]

    def compare(
        self, suspects: Descriptors, candidates: IndexArray, exclude: IndexArray | None = None
    ) -> Comparison:
        """Compare each suspect exactly with its candidates (`[suspects, candidates]`, -1: none).

        `exclude` as in `match`.
        """
        prepared = self._prepared_for(suspects)
        return Comparison(*prepared.compare(suspects, candidates, exclude))

    def _prepared_for(self, suspects: Descriptors) -> PreparedRows:
        if self._prepared is None or type(suspects) is not type(self.rows):
            raise ValueError(
                f"cannot compare {type(suspects).__name__} with {type(self.rows).__name__}"
            )
        if isinstance(suspects, ImageDescriptors) and isinstance(self._prepared, ImageRows):
            channels = suspects.thumbnails.shape[3]
            if channels > self._prepared.channels:
                return ImageRows(self._prepared.rows, channels)
        return self._prepared


def _prepare(rows: Descriptors) -> PreparedRows:
    if isinstance(rows, ImageDescriptors):
        return ImageRows(rows, rows.thumbnails.shape[3])
    if isinstance(rows, TextDescriptors):
        return TextRows(rows)
    if isinstance(rows, TableDescriptors):
        return TableRows(rows)
    raise TypeError(f"{type(rows).__name__} need no preparation")

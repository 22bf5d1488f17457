"""Candidate search by cells, for many pictures: only rows near a suspect are looked at.

An inverted file (J. Sivic and A. Zisserman, "Video Google", ICCV 2003): vectors are cut to their
main directions and sorted into cells around the centres of k-means; a suspect is compared with the
rows of the cells nearest to it, and with the best of these once more by whole vectors. How many
cells are looked at is found with copies planted in the run itself, so that what is lost is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD

from dataaudit.likeness.descriptors import FloatArray, IndexArray
from dataaudit.likeness.parts import each_in_parts, in_parts, parts_of
from dataaudit.likeness.search import WHOLE_VIEWS, largest_products
from dataaudit.storage.on_disk import Growing, one_array

DIRECTIONS = 64
SAMPLED_ROWS = 50_000
ROWS_PER_STEP = 4096
SUSPECTS_PER_STEP = 1024
LARGEST_PRODUCT = 2**21
"""Vectors times centres at once: few enough to stay near the processor."""
CELLS_PER_ROOT = 4
"""Cells for each square root of the number of rows."""
FIRST_ROWS = 2**14
"""Rows that every suspect is compared with, so that little of what follows is kept."""
LEAST_DEPTH = 8
MOST_LOST = 0.0025
"""Of the planted copies, beside what a search through all rows finds: one of 400, so that of many
suspects hardly more than .005 are lost."""
FINER = (2, 4)
"""Rows that are compared by whole vectors, for each that is asked for. The main directions alone
put one of 200 copies behind the 50 best."""
SUSPECTS_AT_ONCE = 8
MOST_KEPT = 2**21
"""Pairs that are kept before only the best of each suspect are."""


@dataclass(frozen=True)
class _Part:
    """Vectors sorted by cell: `codes` `[items, width]` of `rows`, cell c from `starts[c]` on."""

    codes: NDArray[np.float16]
    rows: IndexArray
    starts: IndexArray


class Cells:
    """Vectors of rows, by cell: of whole rows, and of their parts.

    Parameters
    ----------
    vectors : callable, rows -> float32 `[rows, versions, width]`
        Unit vectors of a slice of rows, or of those at some positions; the whole row first.
    rows : int
        How many there are, at least `DIRECTIONS`.
    seed : int
    """

    def __init__(
        self, vectors: Callable[[slice | IndexArray], FloatArray], rows: int, seed: int = 0
    ) -> None:
        self.count = rows
        self._vectors = vectors
        some = _sample(vectors, rows)
        width = min(DIRECTIONS, some.shape[1])
        self._directions = _directions(some, width, seed)
        centres = min(max(1, round(CELLS_PER_ROOT * rows**0.5)), len(some))
        # Chosen at random, centres end where those of k-means++ do, which takes most of the time.
        clusters = MiniBatchKMeans(
            centres, init="random", n_init=1, random_state=seed, batch_size=4096
        )
        self._centres = clusters.fit(some @ self._directions).cluster_centers_.astype(np.float32)
        self._first = self._cut(vectors(slice(0, min(FIRST_ROWS, rows)))[:, :1])
        self._wholes, self._parts = self._sorted(vectors, rows)

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self._centres)

    def _cut(self, vectors: FloatArray) -> FloatArray:
        """Return `[items, versions, width]` vectors along the main directions alone."""
        # As one matrix: several take NumPy one small product for each item.
        flat = vectors.reshape(-1, vectors.shape[2]) @ self._directions
        return flat.reshape(*vectors.shape[:2], -1)

    def _sorted(self, vectors: Callable[[slice], FloatArray], rows: int) -> tuple[_Part, _Part]:
        def place(part: slice) -> tuple[NDArray[np.float16], IndexArray]:
            found = self._cut(vectors(part))
            flat = found.reshape(-1, found.shape[2])
            nearest = self._nearest_cells(flat, 1).reshape(found.shape[:2])
            return found.astype(np.float16), nearest

        wholes, parts, cells = Growing(), Growing(), Growing()
        for codes, nearest in each_in_parts(
            place, rows, ROWS_PER_STEP, "sorting pictures into cells"
        ):
            wholes.add(codes[:, 0])
            parts.add(codes[:, 1:].reshape(-1, codes.shape[2]))
            cells.add(nearest.astype(np.int32))
        found = cells.finished()
        return self._part(wholes.finished(), found[:, :1]), self._part(
            parts.finished(), found[:, 1:]
        )

    def _part(self, codes: NDArray[np.float16], cells: NDArray[np.int32]) -> _Part:
        flat = cells.ravel()
        order = np.argsort(flat, kind="stable")
        starts = np.searchsorted(flat[order], np.arange(len(self) + 1))
        in_order = one_array(
            codes[order[part]] for part in parts_of(max(len(order), 1), ROWS_PER_STEP)
        )
        return _Part(in_order, order // max(cells.shape[1], 1), starts)

    def _nearest_cells(self, vectors: FloatArray, depth: int) -> IndexArray:
        """Return the `depth` nearest cells of each vector, `[vectors, depth]`, in no order."""
        depth, step = min(depth, len(self)), max(1, LARGEST_PRODUCT // len(self))
        found = np.empty((len(vectors), depth), np.int64)
        lengths = (self._centres**2).sum(axis=1) / 2
        for start in range(0, len(vectors), step):
            near = vectors[start : start + step] @ self._centres.T
            near -= lengths
            if depth == 1:
                found[start : start + step, 0] = near.argmax(axis=1)
            else:
                best = np.argpartition(near, len(self) - depth, axis=1)[:, -depth:]
                found[start : start + step] = best
        return found

    def nearest(
        self,
        views: Callable[[slice], FloatArray],
        suspects: int,
        count: int,
        exclude: IndexArray | None,
        depth: int,
        finer: int = FINER[-1],
    ) -> IndexArray:
        """Find the rows of largest inner product, as `search.nearest` does, in some cells only.

        Parameters
        ----------
        views : callable, slice of suspects -> float32 `[suspects, views, width]`
        suspects, count, exclude
            As in `search.nearest`.
        depth : int
            Cells that are looked at for each view.
        finer : int
            Of `FINER`.

        Returns
        -------
        int64 `[suspects, count]`
            Positions of rows, best first; -1 for none.
        """

        def some(here: slice) -> IndexArray:
            own, queries = None if exclude is None else exclude[here], views(here)
            near = self._nearest(self._cut(queries), finer * count, own, depth)
            parts = parts_of(len(near), SUSPECTS_AT_ONCE)
            return np.concatenate([self._best_of(queries[p], near[p], count) for p in parts])

        found = in_parts(some, suspects, SUSPECTS_PER_STEP, "searching the cells")
        return np.concatenate([np.empty((0, count), np.int64), *found])

    def _best_of(self, views: FloatArray, near: IndexArray, count: int) -> IndexArray:
        """Return the best of some rows of each suspect by whole vectors, `[suspects, count]`."""
        chosen, place = np.unique(near, return_inverse=True)
        vectors = self._vectors(chosen.clip(0))
        result = np.full((len(near), count), -1, np.int64)
        for line, places in enumerate(place.reshape(near.shape)):
            value = largest_products(views[line : line + 1], vectors[places])[0]
            value[near[line] < 0] = -np.inf
            order = np.lexsort((near[line], -value))[:count]
            result[line, : len(order)] = near[line, order]
        return result

    def _nearest(
        self, views: FloatArray, count: int, exclude: IndexArray | None, depth: int
    ) -> IndexArray:
        best = _Best(len(views), count, exclude)
        whole = views[:, :WHOLE_VIEWS]
        best.start(largest_products(whole, self._first))
        for queries, part in ((views, self._wholes), (whole, self._parts)):
            for suspect, codes, rows in self._meetings(queries, part, depth):
                best.see(suspect, codes, rows)
        return best.rows()

    def _meetings(
        self, queries: FloatArray, part: _Part, depth: int
    ) -> Iterator[tuple[IndexArray, FloatArray, IndexArray]]:
        """Yield suspects, products `[suspects, rows]` and rows of each cell."""
        flat = queries.reshape(-1, queries.shape[2])
        cells = self._nearest_cells(flat, depth)
        order = np.argsort(cells.ravel(), kind="stable")
        starts = np.searchsorted(cells.ravel()[order], np.arange(len(self) + 1))
        for cell in range(len(self)):
            lines = order[starts[cell] : starts[cell + 1]] // cells.shape[1]
            inside = slice(part.starts[cell], part.starts[cell + 1])
            if len(lines) and inside.stop > inside.start:
                codes = part.codes[inside].astype(np.float32)
                yield lines // queries.shape[1], flat[lines] @ codes.T, part.rows[inside]


class _Best:
    """The rows of largest value of each suspect, over values seen in any order."""

    def __init__(self, suspects: int, count: int, exclude: IndexArray | None) -> None:
        self._count = count
        self._exclude = np.full(suspects, -1) if exclude is None else exclude
        self._least = np.full(suspects, -np.inf, np.float32)
        self._waiting: list[tuple[IndexArray, IndexArray, FloatArray]] = []
        self._pairs = 0

    def start(self, values: FloatArray) -> None:
        """Take the values of the first rows, `[suspects, rows]`, as what others must exceed."""
        # One more, since a suspect that is a row is not to be matched with itself.
        if values.shape[1] > self._count:
            place = values.shape[1] - self._count - 1
            self._least = np.partition(values, place, axis=1)[:, place] - np.float32(1e-3)

    def see(self, suspects: IndexArray, values: FloatArray, rows: IndexArray) -> None:
        """Take values `[suspects, rows]` into account."""
        line, column = np.nonzero(values > self._least[suspects][:, None])
        suspect, row = suspects[line], rows[column]
        other = self._exclude[suspect] != row
        self._waiting.append((suspect[other], row[other], values[line, column][other]))
        self._pairs += len(suspect)
        if self._pairs > MOST_KEPT:
            self._keep_best()

    def _keep_best(self) -> None:
        suspect, row, value = (
            np.concatenate([parts[place] for parts in self._waiting]) for place in range(3)
        )
        # The best value of each pair, which several views may have found.
        pair = suspect * (row.max(initial=0) + 1) + row
        order = np.argsort(pair)
        first = np.flatnonzero(np.diff(pair[order], prepend=-1))
        value = np.maximum.reduceat(value[order], first) if len(first) else value
        suspect, row = suspect[order[first]], row[order[first]]
        # Values are at most about 1, so this orders by suspect, then by value.
        order = np.argsort(suspect - value.astype(np.float64) / 4, kind="stable")
        suspect, row, value = suspect[order], row[order], value[order]
        starts = np.searchsorted(suspect, np.arange(len(self._least) + 1))
        rank = np.arange(len(suspect)) - starts[suspect]
        last = rank == self._count - 1
        self._least[suspect[last]] = np.maximum(self._least[suspect[last]], value[last])
        kept = rank < self._count
        self._waiting = [(suspect[kept], row[kept], value[kept])]
        self._pairs = int(kept.sum())

    def rows(self) -> IndexArray:
        """Return `[suspects, count]` rows, best first, the earlier row first where equal."""
        found = np.full((len(self._least), self._count), -1, np.int64)
        if self._waiting:
            self._keep_best()
            suspect, row, _ = self._waiting[0]
            starts = np.searchsorted(suspect, np.arange(len(self._least)))
            found[suspect, np.arange(len(suspect)) - starts[suspect]] = row
        return found


def _sample(vectors: Callable[[slice], FloatArray], rows: int) -> FloatArray:
    """Return whole vectors of some rows, in stretches spread evenly."""
    length = 512
    stretches = max(1, min(SAMPLED_ROWS, rows) // length)
    starts = np.unique(np.linspace(0, max(rows - length, 0), stretches).astype(int))
    return np.concatenate([vectors(slice(s, min(s + length, rows)))[:, 0] for s in starts])


def _directions(some: FloatArray, width: int, seed: int) -> FloatArray:
    """Return `[full width, width]`: what keeps most of the inner products."""
    if width == some.shape[1]:
        return np.eye(width, dtype=np.float32)
    found = TruncatedSVD(width, random_state=seed).fit(some)
    return np.ascontiguousarray(found.components_.T, np.float32)


@dataclass(frozen=True)
class Depth:
    """How many cells are enough, and what `planted` copies said: how many were found.

    `finer` times the rows that are asked for are compared by whole vectors.
    """

    cells: int
    finer: int
    planted: int
    found: int
    found_by_all: int

    @property
    def is_enough(self) -> bool:
        """Whether hardly a copy is lost that a search through all rows finds."""
        return self.found >= self.found_by_all - MOST_LOST * self.planted

    def __str__(self) -> str:
        """Say so in a sentence."""
        return (
            f"for each view of a picture {self.cells} cells of rows were searched; of "
            f"{self.planted} copies planted to see what that loses, {self.found} found their row, "
            f"and {self.found_by_all} where all rows were searched"
        )


def enough(
    cells: Cells,
    views: Callable[[slice], FloatArray],
    sources: IndexArray,
    count: int,
    found_by_all: Callable[[IndexArray], NDArray[np.bool_]],
) -> Depth:
    """Find the smallest depth that loses at most `MOST_LOST` of planted copies.

    Where four times as many cells find no more, the smaller depth stays, and says what it loses.

    Parameters
    ----------
    cells : Cells
    views : callable, slice of copies -> float32 `[copies, views, width]`
    sources : int64 `[copies]`
        The row that each is a copy of.
    count : int
        Candidates for each copy.
    found_by_all : callable, int64 positions of copies -> bool
        Whether their row is among the candidates of a search through all rows; only asked of
        copies that the cells miss, since it takes long.
    """
    planted = len(sources)
    asked, reachable = np.zeros(planted, bool), np.zeros(planted, bool)

    def found_at(depth: int, finer: int) -> Depth:
        near = cells.nearest(views, planted, count, None, depth, finer)
        found = (near == sources[:, None]).any(axis=1)
        unknown = np.flatnonzero(~found & ~asked)
        if len(unknown):
            reachable[unknown] = found_by_all(unknown)
            asked[unknown] = True
        return Depth(depth, finer, planted, int(found.sum()), int((found | reachable).sum()))

    tried = [found_at(min(LEAST_DEPTH, len(cells)), FINER[-1])]
    while not tried[-1].is_enough and tried[-1].cells < len(cells):
        tried.append(found_at(min(2 * tried[-1].cells, len(cells)), FINER[-1]))
        if len(tried) > 2 and tried[-1].found <= tried[-3].found:
            return tried[-3]
    # Cheaper only where nothing speaks against it: few copies tell small losses badly apart.
    cheaper = found_at(tried[-1].cells, FINER[0])
    return cheaper if cheaper.found >= tried[-1].found else tried[-1]

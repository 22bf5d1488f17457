"""Content of table rows: agreement per column, weighted by how rare it is by chance.

I. Fellegi and A. Sunter, "A theory for record linkage", JASA 1969. A copy is a plain one, in
which a field may have been changed, or one with rounded numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from dataaudit.likeness.descriptors import (
    FloatArray,
    ImageDescriptors,
    IndexArray,
    TableDescriptors,
)
from dataaudit.likeness.meaning import cell_of, cells_of, fold_text, numbers_of
from dataaudit.likeness.parts import one_by_one, parts_of
from dataaudit.likeness.pixel_tables import Pixels, is_number_column
from dataaudit.likeness.search import (
    COMPARING,
    HASHED_FEATURES,
    SKETCH_WIDTH,
    Compared,
    joined,
    sketch,
    sketch_projection,
)
from dataaudit.likeness.wording import Wording, are_worded
from dataaudit.storage.on_disk import Growing


@dataclass(frozen=True)
class CopyModel:
    """How likely a copied field stays the same, is rounded, or is changed to something else."""

    same: float
    rounded: float
    changed: float
    changed_category: float


PLAIN_COPY = CopyModel(same=0.95, rounded=0.01, changed=0.03, changed_category=0.03)
ROUNDED_COPY = CopyModel(same=0.50, rounded=0.49, changed=0.005, changed_category=0.005)
TYPED_AGAIN = CopyModel(same=0.80, rounded=0.10, changed=0.10, changed_category=0.50)
"""By another source, which writes every second name, title or category in another way."""
SUSPECTS_PER_STEP = 256
ITEMS_PER_SKETCH = 8192
"""Each takes some kilobytes until it is sketched."""
NEARNESS = 0.2
"""A changed number is likelier near than far: density NEARNESS * share ** (NEARNESS - 1)."""
GRAINS = np.array([m * 10.0**e for e in range(-4, 7) for m in (1, 2, 5)])


def describe_table(
    table: pd.DataFrame, like: pd.DataFrame | None = None, pixels: Pixels | None = None
) -> TableDescriptors | ImageDescriptors:
    """Describe table rows; columns that are the pixels of small images are described as images.

    Parameters
    ----------
    table : pandas.DataFrame
        The rows, with the columns of `like`.
    like : pandas.DataFrame or None
        The training table, or its first rows, where `table` holds others: a column is a number if
        it is there.
    pixels : Pixels or None
        What its columns are the pixels of; None: of `like`, where they are any.
    """
    like = table if like is None else like
    pixels = Pixels.of(like) if pixels is None else pixels
    if pixels is not None:
        return pixels.describe(table[list(like.columns)])
    numeric = [c for c in like.columns if is_number_column(like[c])]
    others = [c for c in like.columns if not is_number_column(like[c])]
    numbers = np.column_stack(
        [numbers_of(table[c]) for c in numeric] or [np.empty((len(table), 0))]
    )
    categories = np.column_stack(
        [cells_of(table[c], _folded_cell) for c in others] or [np.empty((len(table), 0), object)]
    )
    cells = np.column_stack(
        [pd.util.hash_array(cells_of(table[c])) for c in others]
        or [np.empty((len(table), 0), np.uint64)]
    )
    return TableDescriptors(numbers, categories, cells, tuple(map(str, numeric + others)))


class TableRows:
    """Training rows of a table, with the rarity of their values."""

    def __init__(self, rows: TableDescriptors) -> None:
        self.rows = rows
        self.scheme = TableScheme(rows)
        self.projection = sketch_projection(HASHED_FEATURES)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def vectors(self, part: slice) -> FloatArray:
        """Return unit vectors of some rows to search with, `[rows, 1, width]`."""
        return self.views(self.rows.take(np.arange(*part.indices(len(self.rows)))))

    def views(self, suspects: TableDescriptors) -> FloatArray:
        """Return unit vectors of suspects to search with, `[suspects, 1, width]`."""
        places = np.arange(len(suspects))
        found = np.empty((len(suspects), 1, SKETCH_WIDTH), np.float32)
        for start in range(0, len(suspects), ITEMS_PER_SKETCH):
            some = slice(start, start + ITEMS_PER_SKETCH)
            tokens = self.scheme.tokens(suspects.take(places[some]))
            found[some] = sketch(tokens, self.projection)
        return found

    def compare(
        self, suspects: TableDescriptors, candidates: IndexArray, exclude: IndexArray | None
    ) -> Compared:
        """Compare suspects with some rows; the score is in nats, against rivals.

        A suspect that is a row itself is not counted among those that its values are rare among:
        else the rows that show how alike clean samples are would seem less alike than these.
        """
        own = np.zeros(len(suspects), np.int64)
        if exclude is not None:
            own[exclude >= 0] = 1
        places = np.arange(len(suspects))

        def compare_some(part: slice) -> Compared:
            return self._compare(suspects.take(places[part]), candidates[part], own[part])

        parts = parts_of(len(suspects), SUSPECTS_PER_STEP)
        return joined(one_by_one(compare_some, parts, COMPARING), candidates)

    def _compare(
        self, suspects: TableDescriptors, candidates: IndexArray, own: IndexArray
    ) -> Compared:
        present = candidates >= 0
        line, place = np.nonzero(present)
        nats: NDArray[np.float64] = np.full(candidates.shape, -np.inf)
        nats[line, place] = self.scheme.log_likelihood_ratio(
            suspects.take(line), self.rows.take(candidates[line, place]), own[line]
        )
        most = self.scheme.log_likelihood_ratio(suspects, suspects, own)[:, None]
        similarity = np.where(present, (nats / np.maximum(most, 1e-9)).clip(-1, 1), -np.inf)
        if nats.shape[1] == 0:
            return similarity.astype(np.float32), nats.astype(np.float32)
        first, second = nats[:, :1], nats[:, :1]
        if nats.shape[1] > 1:
            best = -np.partition(-nats, 1, axis=1)[:, :2]
            first, second = best[:, :1], best[:, 1:]
        # Without a second candidate there is no rival.
        second = np.where(np.isneginf(second), first, second)
        with np.errstate(invalid="ignore"):
            rival = np.where(nats == first, second, first)
            score = np.where(present, nats - (most - nats) + (nats - rival) / 2, -np.inf)
        return similarity.astype(np.float32), score.astype(np.float32)


def is_rounding(value: ArrayLike, other: ArrayLike) -> NDArray[np.bool_]:
    """Return where one of two unequal numbers is the other, rounded to 1, 2 or 5 times 10**k."""
    left, right = np.asarray(value, np.float64), np.asarray(other, np.float64)
    found = np.zeros(np.broadcast_shapes(left.shape, right.shape), bool)
    apart = np.abs(left - right)
    for grain in GRAINS:
        whole = np.abs(left / grain - np.rint(left / grain)) < 1e-6
        other_whole = np.abs(right / grain - np.rint(right / grain)) < 1e-6
        found |= (apart <= grain / 2 * (1 + 1e-9)) & (whole | other_whole)
    return found


class TableScheme:
    """How rare each value is among the training rows, and what an agreement is worth, in nats."""

    def __init__(self, rows: TableDescriptors) -> None:
        self.rows = max(len(rows), 1)
        self.sorted_numbers = _sorted_columns(rows.numbers)
        self.frequencies = [
            pd.Series(column).value_counts().to_dict() for column in rows.categories.T
        ]
        self.wordings = [
            Wording(column) if are_worded(column) else None for column in rows.categories.T
        ]
        self.copies = [PLAIN_COPY, ROUNDED_COPY]
        if any(wording is not None for wording in self.wordings):
            self.copies.append(TYPED_AGAIN)

    def log_likelihood_ratio(
        self, ones: TableDescriptors, rows: TableDescriptors, own: ArrayLike = 0
    ) -> NDArray[np.float64]:
        """Return [pairs] nats for "`ones` was copied from this row" against chance.

        A copy is either a plain one, in which a field may have been changed, or a rounded one, or,
        in a table with names or titles, typed again; all are equally likely beforehand.

        Parameters
        ----------
        ones, rows : `[pairs]`, or one of both
        own : int `[pairs]`, or one for all
            1 where the former is a training row itself, whose values count only the others.
        """
        itself = np.asarray(own, np.int64)
        length = max(len(ones), len(rows)) if len(ones) and len(rows) else 0
        totals = np.zeros((len(self.copies), length))
        for column, known in enumerate(self.sorted_numbers):
            totals += self._number_evidence(
                known, ones.numbers[:, column], rows.numbers[:, column], itself
            )
        for column, frequency in enumerate(self.frequencies):
            values = ones.categories[:, column]
            held = np.array([frequency.get(value, 0) for value in values], np.int64)
            share = self._share(held - itself)
            same = rows.categories[:, column] == values
            alike = self._alike(column, values, rows.categories[:, column], itself)
            for total, edit in zip(totals, self.copies, strict=True):
                changed = np.log(
                    edit.changed_category / np.maximum(1 - share, edit.changed_category)
                )
                if edit is TYPED_AGAIN:
                    changed = changed + alike
                total += np.where(same, np.log((1 - edit.changed_category) / share), changed)
        return np.asarray(np.logaddexp.reduce(totals) - np.log(len(totals)))

    def _alike(
        self,
        column: int,
        values: NDArray[np.object_],
        others: NDArray[np.object_],
        own: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Return what a changed value has in common with the row's, `[pairs]` nats; else 0."""
        wording, nats = self.wordings[column], np.zeros(len(others))
        if wording is not None:
            ones, itself = np.broadcast_to(values, len(others)), np.broadcast_to(own, len(others))
            pairs = np.flatnonzero((ones != others) & (ones != "") & (others != ""))
            nats[pairs] = wording.nats(ones[pairs], others[pairs], itself[pairs])
        return nats

    def _share(self, holding: ArrayLike) -> NDArray[np.float64]:
        # A row whose field was left out is not among the rows that lack it.
        share = (np.maximum(np.asarray(holding, np.float64), 0) + 1.0) / (self.rows + 1.0)
        return np.minimum(share, 1.0)

    def _number_evidence(
        self,
        known: NDArray[np.float64],
        value: NDArray[np.float64],
        other: NDArray[np.float64],
        own: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Nats for copying against the chance that a random row is at least as near to `value`.

        Of each kind of copy, `[kinds, pairs]`.
        """
        missing = np.isnan(value)
        none = self._share(self.rows - len(known) - own)
        # NaN sorts last and compares as false; what it leads to is replaced below.
        with np.errstate(invalid="ignore"):
            distance = np.abs(value - other)
            slack = 1e-9 * np.maximum(np.abs(value), 1.0)
            first = np.searchsorted(known, value - distance - slack, "left")
            last = np.searchsorted(known, value + distance + slack, "right")
            share = self._share(last - first - own)
            is_same, is_rounded = distance <= slack, is_rounding(value, other)

        def nats(edit: CopyModel) -> NDArray[np.float64]:
            found = np.select(
                [is_same, is_rounded],
                [np.log(edit.same / share), np.log(edit.rounded / share)],
                np.log(edit.changed * NEARNESS) - (1 - NEARNESS) * np.log(share),
            )
            found = np.where(np.isnan(other), np.log(edit.changed), found)
            alike = np.log(edit.same / none)
            apart = np.log(edit.changed / np.maximum(1 - none, 0.01))
            return np.where(missing, np.where(np.isnan(other), alike, apart), found)

        return np.stack([nats(edit) for edit in self.copies])

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
        found = sparse.csr_matrix((data.ravel(), columns.ravel(), starts), shape=shape)
        for column, wording in enumerate(self.wordings):
            if wording is not None:
                grams = wording.grams_of(items.categories[:, column])
                found += grams * np.float32(np.sqrt(np.log(self.rows + 1)))
        return found

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
            weight = np.log(above / here) / 2
            for offset in (0.0, 0.5):
                code = np.floor(place * bins + offset).astype(np.int64)
                name = f"number {column} {bins} {offset}"
                # Few different codes, each hashed once.
                yield _hashed(np.arange(bins + 2).astype(np.uint64), name)[code], weight
            above = here
        code = pd.util.hash_array(values).astype(np.uint64)
        yield _hashed(code, f"number {column}"), np.log(above / share)


def _sorted_columns(numbers: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return what stands in each column, in order; the columns lie side by side in one array."""
    values, ends = Growing(), [0]
    values.add(np.empty(0))
    for column in numbers.T:
        known = column[~np.isnan(column)]
        known.sort()
        values.add(known)
        ends.append(ends[-1] + len(known))
    return np.split(values.finished(), ends[1:-1]) if len(ends) > 1 else []


def _hashed(codes: NDArray[np.uint64], name: str) -> NDArray[np.int64]:
    salt = pd.util.hash_array(np.array([name], object))[0]
    mixed = pd.util.hash_array(codes ^ salt)
    return (mixed % np.uint64(HASHED_FEATURES)).astype(np.int64)


def _folded_cell(value: Any) -> str:
    """Return a cell without case, punctuation and codes of HTML; one of nothing else keeps it."""
    cell = unescape(cell_of(value))
    return fold_text(cell) or cell

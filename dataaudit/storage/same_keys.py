"""Rows that have a key in common, found with the keys on disk and few of them in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.storage.on_disk import blank

KEYS_PER_PART = 2**17
"""About so many keys are sorted at a time: some 60 bytes each are in memory meanwhile."""

Positions = NDArray[np.int64]


class SameKeys:
    """The rows whose key another row has, too.

    Rows are dealt to parts by the first bits of their keys, so that all of one key are in one part,
    and parts are sorted one by one. In memory are a part, and what many rows of one key take.

    Parameters
    ----------
    keys : uint64 `[rows]`, or bytes of any width from 8 on
        Hashes: spread evenly, at least in their first 8 bytes.
    """

    def __init__(self, keys: NDArray[Any]) -> None:
        self.rows = len(keys)
        self._keys = keys
        self._positions: Positions | None = None
        self._ends = np.array([self.rows], np.int64)
        if self.rows > KEYS_PER_PART:
            self._deal((self.rows - 1) // KEYS_PER_PART)

    def __iter__(self) -> Iterator[tuple[Positions, Positions]]:
        """Yield rows that have a key in common, part by part.

        Yields
        ------
        (int64 `[n]`, int64 `[n]`)
            Positions, ascending, and numbers that are equal where the keys are. All rows of a key
            come at once; a number means nothing beyond its part.
        """
        start = 0
        for end in self._ends.tolist():
            part = self._keys[start:end]
            groups, counts = np.unique(part, return_inverse=True, return_counts=True)[1:]
            lines = np.flatnonzero(counts[groups] > 1)
            positions = lines + start if self._positions is None else self._positions[start:end]
            if self._positions is not None:
                positions = np.asarray(positions[lines])
            yield positions, groups[lines]
            start = end

    def with_first(self) -> Iterator[tuple[Positions, Positions]]:
        """Yield the same rows, with the first row of the same key in place of numbers."""
        for positions, groups in self:
            _, first, place = np.unique(groups, return_index=True, return_inverse=True)
            yield positions, positions[first][place]

    def repeated(self) -> NDArray[np.bool_]:
        """Tell which rows have a key that another row has, `[rows]`."""
        found = blank(self.rows, np.dtype(bool))
        for positions, _ in self:
            found[positions] = True
        return found

    def _deal(self, further: int) -> None:
        """Put rows of the same first bits side by side, in the order that they are in."""
        bits = further.bit_length()
        counts = np.zeros(2**bits, np.int64)
        for _, parts in self._parts(bits):
            counts += np.bincount(parts, minlength=len(counts))
        self._ends = np.cumsum(counts)
        free = self._ends - counts
        keys = blank(self.rows, self._keys.dtype)
        positions = blank(self.rows, np.dtype(np.int64))
        for start, parts in self._parts(bits):
            order = np.argsort(parts, kind="stable")
            here = np.bincount(parts, minlength=len(counts))
            rank = np.arange(len(order)) - np.repeat(np.cumsum(here) - here, here)
            places = free[parts[order]] + rank
            keys[places] = self._keys[start : start + len(order)][order]
            positions[places] = order + start
            free += here
        self._keys, self._positions = keys, positions

    def _parts(self, bits: int) -> Iterator[tuple[int, Positions]]:
        """Yield the numbers of the parts of rows that follow each other, and where these begin."""
        for start in range(0, self.rows, KEYS_PER_PART):
            some = np.ascontiguousarray(self._keys[start : start + KEYS_PER_PART])
            words = some.view(np.uint64).reshape(len(some), -1)[:, 0]
            yield start, (words >> np.uint64(64 - bits)).astype(np.int64)

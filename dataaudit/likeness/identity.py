"""Identical content: items that mean the very same, however their values are stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from dataaudit.likeness.descriptors import (
    Descriptors,
    IndexArray,
    TableDescriptors,
    TextDescriptors,
)
from dataaudit.likeness.meaning import picture_key

Keys = NDArray[np.bytes_]
"""`[items]` of 16 bytes."""

ITEMS_PER_STEP = 2**16
"""Table rows whose keys are made at once: several copies of them are in memory meanwhile."""
_MULTIPLIERS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
"""Odd numbers whose bits are spread evenly, one for each half of a key."""


@dataclass(frozen=True)
class Identity:
    """Which suspects and rows are identical to a training row.

    Attributes
    ----------
    keys, suspect_keys : `[rows]`, `[suspects]`
        Equal where the content is identical.
    row : int64 `[suspects]`
        The first training row that each suspect is identical to, -1 for none.
    times : int64 `[rows]`
        How many training rows have this content, at least 1.
    """

    keys: Keys
    suspect_keys: Keys
    row: IndexArray
    times: IndexArray

    @property
    def suspects(self) -> NDArray[np.bool_]:
        """`[suspects]`, true where one is identical to a training row."""
        return self.row >= 0

    @property
    def repeated(self) -> int:
        """How many training rows are identical to another one."""
        return int((self.times > 1).sum())


def nothing_identical(suspects: int) -> Identity:
    """Return an identity without rows, where nothing could be compared."""
    keys = np.zeros(0, "S16")
    return Identity(keys, np.zeros(suspects, "S16"), np.full(suspects, -1), np.zeros(0, np.int64))


def identity(rows: Descriptors, suspects: Descriptors) -> Identity:
    """Find the suspects that are identical to a training row, and rows that are to another."""
    single = _single_precision(rows, suspects)
    return identity_of(content_keys(rows, single), content_keys(suspects, single))


def identity_of(keys: Keys, suspect_keys: Keys) -> Identity:
    """The same from keys, `[rows]` and `[suspects]`."""
    known, first, place, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    if len(known) == 0:
        return Identity(keys, suspect_keys, np.full(len(suspect_keys), -1), np.zeros(0, np.int64))
    found = np.searchsorted(known, suspect_keys).clip(max=len(known) - 1)
    row = np.where(known[found] == suspect_keys, first[found], -1)
    return Identity(keys, suspect_keys, row.astype(np.int64), counts[place].astype(np.int64))


def content_keys(items: Descriptors, single: NDArray[np.bool_] | None = None) -> Keys:
    """Return `[items]` keys that two items share only if their content is identical.

    Identical means: the same pixels, the same text up to case and punctuation, the same values in
    a table row, whatever type they are stored in.

    Parameters
    ----------
    items : Descriptors
    single : bool `[number columns]` or None
        The number columns of a table that are compared at single precision.
    """
    if isinstance(items, TableDescriptors):
        return _row_keys(items, single)
    if items.keys is not None:
        return items.keys
    return np.array([*_digests(items)], "S16")


def _digests(items: Descriptors) -> Iterable[bytes]:
    if isinstance(items, TextDescriptors):
        return (
            blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            for text in items.folded
        )
    assert not isinstance(items, TableDescriptors)
    pictures = items.pixels if hasattr(items, "pixels") else items.thumbnails
    return (picture_key(picture) for picture in pictures)


def _single_precision(rows: Descriptors, suspects: Descriptors) -> NDArray[np.bool_] | None:
    """Tell which number columns one of the two holds at single precision only."""
    if not isinstance(rows, TableDescriptors) or not isinstance(suspects, TableDescriptors):
        return None
    return _is_single(rows.numbers) | _is_single(suspects.numbers)


def _is_single(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    # Column by column: whole tables at single precision, and what they are compared by, are large.
    single = []
    for column in numbers.T:
        with np.errstate(over="ignore"):
            rounded = column.astype(np.float32)
        single.append(bool(((rounded == column) | np.isnan(column)).all()))
    return np.array(single, bool)


def _row_keys(items: TableDescriptors, single: NDArray[np.bool_] | None) -> Keys:
    """Return `[items]`: two independent 64-bit hashes of all fields."""
    places = np.arange(len(items))
    steps = range(0, len(items), ITEMS_PER_STEP)
    parts = [_keys_of(items.take(places[i : i + ITEMS_PER_STEP]), single) for i in steps]
    return np.concatenate([np.empty(0, "S16"), *parts])


def _keys_of(items: TableDescriptors, single: NDArray[np.bool_] | None) -> Keys:
    # Adding zero turns -0.0 into 0.0; all missing values get one bit pattern.
    numbers = items.numbers + 0.0
    if single is not None and single.any():
        with np.errstate(over="ignore"):
            rounded = numbers.astype(np.float32).astype(np.float64)
        # Whole numbers of more than seven digits are no less exact for standing beside others.
        numbers = np.where(single & (numbers != np.rint(numbers)), rounded, numbers)
    numbers[np.isnan(numbers)] = np.nan
    fields = [*np.ascontiguousarray(numbers.T).view(np.uint64), *items.cells.T]
    halves = np.zeros((len(items), 2), np.uint64)
    for half, multiplier in enumerate(_MULTIPLIERS):
        mixed = np.full(len(items), multiplier)
        for field in fields:
            mixed = (mixed ^ field) * multiplier
            mixed ^= mixed >> np.uint64(29)
        halves[:, half] = mixed
    return np.ascontiguousarray(halves).view("S16").ravel()

"""Identical content: items that mean the very same, however their values are stored."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.likeness.descriptors import (
    Descriptors,
    IndexArray,
    TableDescriptors,
    TextDescriptors,
)
from dataaudit.likeness.meaning import picture_key
from dataaudit.storage.on_disk import one_array
from dataaudit.storage.same_keys import SameKeys

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
    groups : SameKeys
        The training rows that are identical to another one.
    repeats : bool `[rows]`
        Whether a training row is one of those.
    """

    keys: Keys
    suspect_keys: Keys
    row: IndexArray
    groups: SameKeys
    repeats: NDArray[np.bool_]

    @property
    def suspects(self) -> NDArray[np.bool_]:
        """`[suspects]`, true where one is identical to a training row."""
        return self.row >= 0

    @cached_property
    def repeated(self) -> int:
        """How many training rows are identical to another one."""
        return int(np.count_nonzero(self.repeats))


def nothing_identical(suspects: int) -> Identity:
    """Return an identity without rows, where nothing could be compared."""
    return identity_of(np.zeros(0, "S16"), np.zeros(suspects, "S16"))


def identity(rows: Descriptors, suspects: Descriptors) -> Identity:
    """Find the suspects that are identical to a training row, and rows that are to another.

    Both are found with the rows' keys on disk, where there are many.
    """
    single = _single_precision(rows, suspects)
    return identity_of(content_keys(rows, single), content_keys(suspects, single))


def identity_of(keys: Keys, suspect_keys: Keys) -> Identity:
    """The same from keys, `[rows]` and `[suspects]`."""
    groups = SameKeys(keys)
    return Identity(keys, suspect_keys, first_with(suspect_keys, keys), groups, groups.repeated())


def first_with(wanted: NDArray[Any], keys: NDArray[Any]) -> IndexArray:
    """Return the first of `keys` that is each wanted one, int64 `[wanted]`; -1 for none.

    `keys` are looked at part by part, so they may lie on disk.
    """
    known, place = np.unique(wanted, return_inverse=True)
    first = np.full(len(known), -1, np.int64)
    for start in range(0, len(keys) if len(known) else 0, ITEMS_PER_STEP):
        part = keys[start : start + ITEMS_PER_STEP]
        found = np.searchsorted(known, part).clip(max=len(known) - 1)
        # From the last on: of several values for one place the last one given stays.
        lines = np.flatnonzero((known[found] == part) & (first[found] < 0))[::-1]
        first[found[lines]] = lines + start
    return first[place]


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
    return one_array(_in_steps(_digests(items)))


def _in_steps(digests: Iterable[bytes]) -> Iterator[Keys]:
    rest = iter(digests)
    yield np.zeros(0, "S16")
    while some := [*itertools.islice(rest, ITEMS_PER_STEP)]:
        yield np.array(some, "S16")


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
    # Part by part: whole tables at single precision, and what they are compared by, are large.
    single = np.full(numbers.shape[1], fill_value=True)
    for start in range(0, len(numbers), ITEMS_PER_STEP):
        part = numbers[start : start + ITEMS_PER_STEP]
        with np.errstate(over="ignore"):
            rounded = part.astype(np.float32)
        single &= ((rounded == part) | np.isnan(part)).all(axis=0)
    return single


def _row_keys(items: TableDescriptors, single: NDArray[np.bool_] | None) -> Keys:
    """Return `[items]`: two independent 64-bit hashes of all fields."""
    steps = range(0, max(len(items), 1), ITEMS_PER_STEP)
    places = (np.arange(i, min(i + ITEMS_PER_STEP, len(items))) for i in steps)
    return one_array(_keys_of(items.take(some), single) for some in places)


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

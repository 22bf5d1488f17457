"""Descriptors: what is kept of images, texts and table rows to compare them by."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dataaudit.storage.many_texts import GrowingTexts, Texts
from dataaudit.storage.on_disk import Growing, one_array

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]
ITEMS_PER_STEP = 2048
COUNTS_PER_STEP = 2**22
MOST_COUNTED_BRIEFLY = 2**31 - 1
"""Words and 4-grams of all texts that sparse tables can address with 32 bits."""


@dataclass(frozen=True)
class ImageDescriptors:
    """`thumbnails` [items, 32, 32, channels] uint8; channels is 1 (all grey) or 3.

    `keys` [items] are those of the whole pictures (`content_keys`); None: of the thumbnails.
    """

    thumbnails: NDArray[np.uint8]
    keys: NDArray[np.bytes_] | None = None

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.thumbnails)

    def take(self, positions: IndexArray) -> ImageDescriptors:
        """Return the items at `positions`."""
        return ImageDescriptors(self.thumbnails[positions], _taken(self.keys, positions))


@dataclass(frozen=True)
class TextDescriptors:
    """Texts after folding, and how often each hashed word or character 4-gram occurs.

    `folded` [items] str; `counts` [items, 2**20] sparse; `keys` [items] as in `content_keys`.
    """

    folded: Texts
    counts: sparse.csr_matrix
    keys: NDArray[np.bytes_] | None = None

    def __len__(self) -> int:
        """Return the number of items."""
        return int(self.counts.shape[0])

    def take(self, positions: IndexArray) -> TextDescriptors:
        """Return the items at `positions`."""
        keys = _taken(self.keys, positions)
        return TextDescriptors(self.folded[positions], self.counts[positions], keys)


@dataclass(frozen=True)
class TableDescriptors:
    """`numbers` [items, number columns] (NaN: missing), `categories` [items, others] as text.

    `cells` [items, others] are hashes of the latter's values, equal where these mean the same.
    """

    numbers: NDArray[np.float64]
    categories: NDArray[np.object_]
    cells: NDArray[np.uint64]
    columns: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.numbers)

    def take(self, positions: IndexArray) -> TableDescriptors:
        """Return the items at `positions`."""
        return replace(
            self,
            numbers=self.numbers[positions],
            categories=self.categories[positions],
            cells=self.cells[positions],
        )


@dataclass(frozen=True)
class SmallImageDescriptors:
    """`pixels` float32 `[items, height, width, channels]`, of images of 4 to 16 pixels a side."""

    pixels: FloatArray
    keys: NDArray[np.bytes_] | None = None

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.pixels)

    def take(self, positions: IndexArray) -> SmallImageDescriptors:
        """Return the items at `positions`."""
        return SmallImageDescriptors(self.pixels[positions], _taken(self.keys, positions))


Descriptors = ImageDescriptors | SmallImageDescriptors | TextDescriptors | TableDescriptors


def concatenated(parts: Iterable[Descriptors]) -> Descriptors:
    """Join the descriptors of consecutive items; grey images beside colour ones become colour.

    Parameters
    ----------
    parts : iterable of Descriptors
        At least one, all of one kind; asked for one after the other. What is large goes to disk.
    """
    rest = iter(parts)
    first = next(rest)
    every = itertools.chain([first], rest)
    if isinstance(first, ImageDescriptors):
        return _joined_images(part for part in every if isinstance(part, ImageDescriptors))
    if isinstance(first, TextDescriptors):
        return _joined_texts(part for part in every if isinstance(part, TextDescriptors))
    if isinstance(first, SmallImageDescriptors):
        pixels, keys = Growing(), _Keys()
        for part in every:
            assert isinstance(part, SmallImageDescriptors)
            pixels.add(part.pixels)
            keys.add(part.keys)
        return SmallImageDescriptors(pixels.finished(), keys.finished())
    numbers, categories, cells = Growing(), Growing(), Growing()
    for part in every:
        assert isinstance(part, TableDescriptors)
        numbers.add(part.numbers)
        categories.add(part.categories)
        cells.add(part.cells)
    return TableDescriptors(
        numbers.finished(), categories.finished(), cells.finished(), first.columns
    )


def _joined_images(parts: Iterable[ImageDescriptors]) -> ImageDescriptors:
    pictures, channels, keys = Growing(), 1, _Keys()
    for part in parts:
        own = part.thumbnails.shape[3]
        if own > channels:
            pictures, channels = _repeated(pictures, own), own
        pictures.add(np.repeat(part.thumbnails, channels // own, axis=3))
        keys.add(part.keys)
    return ImageDescriptors(pictures.finished(), keys.finished())


def _repeated(grey: Growing, channels: int) -> Growing:
    """Return grey pictures in colour."""
    coloured = Growing()
    for part in grey.parts(ITEMS_PER_STEP):
        coloured.add(np.repeat(part, channels, axis=3))
    return coloured


def _joined_texts(parts: Iterable[TextDescriptors]) -> TextDescriptors:
    folded, keys, features = GrowingTexts(), _Keys(), 0
    data, indices, lengths = Growing(), Growing(), Growing()
    for part in parts:
        folded.add(part.folded)
        keys.add(part.keys)
        data.add(part.counts.data)
        indices.add(part.counts.indices)
        lengths.add(np.diff(part.counts.indptr))
        features = part.counts.shape[1]
    starts = np.concatenate([[0], np.cumsum(lengths.finished(), dtype=np.int64)])
    shape = (len(starts) - 1, features)
    columns = indices.finished()
    if len(columns) > MOST_COUNTED_BRIEFLY:
        # Else they would be made wider in memory, since where each text begins needs 64 bits.
        steps = range(0, len(columns), COUNTS_PER_STEP)
        columns = one_array(columns[i : i + COUNTS_PER_STEP].astype(np.int64) for i in steps)
    counts = sparse.csr_matrix((data.finished(), columns, starts), shape=shape)
    return TextDescriptors(folded.finished(), counts, keys.finished())


class _Keys:
    """Keys of items, as long as all parts have some."""

    def __init__(self) -> None:
        self._keys: Growing | None = Growing()

    def add(self, keys: NDArray[np.bytes_] | None) -> None:
        if keys is None:
            self._keys = None
        elif self._keys is not None:
            self._keys.add(keys)

    def finished(self) -> NDArray[np.bytes_] | None:
        return None if self._keys is None else self._keys.finished()


def _taken(keys: NDArray[np.bytes_] | None, positions: IndexArray) -> NDArray[np.bytes_] | None:
    return None if keys is None else keys[positions]

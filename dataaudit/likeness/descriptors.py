"""Descriptors: what is kept of images, texts and table rows to compare them by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]


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

    folded: NDArray[np.object_]
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


def concatenated(parts: Sequence[Descriptors]) -> Descriptors:
    """Join the descriptors of consecutive items; grey images beside colour ones become colour."""
    first = parts[0]
    if isinstance(first, ImageDescriptors):
        pictures = [part.thumbnails for part in parts if isinstance(part, ImageDescriptors)]
        channels = max(thumbnails.shape[3] for thumbnails in pictures)
        joined = [np.repeat(t, channels // t.shape[3], axis=3) for t in pictures]
        return ImageDescriptors(np.concatenate(joined), _joined_keys(parts))
    if isinstance(first, TextDescriptors):
        texts = [part for part in parts if isinstance(part, TextDescriptors)]
        return TextDescriptors(
            np.concatenate([part.folded for part in texts]),
            sparse.vstack([part.counts for part in texts], format="csr"),
            _joined_keys(parts),
        )
    if isinstance(first, SmallImageDescriptors):
        pixels = [part.pixels for part in parts if isinstance(part, SmallImageDescriptors)]
        return SmallImageDescriptors(np.concatenate(pixels), _joined_keys(parts))
    tables = [part for part in parts if isinstance(part, TableDescriptors)]
    return TableDescriptors(
        np.concatenate([part.numbers for part in tables]),
        np.concatenate([part.categories for part in tables]),
        np.concatenate([part.cells for part in tables]),
        first.columns,
    )


def _taken(keys: NDArray[np.bytes_] | None, positions: IndexArray) -> NDArray[np.bytes_] | None:
    return None if keys is None else keys[positions]


def _joined_keys(parts: Sequence[Descriptors]) -> NDArray[np.bytes_] | None:
    keys = [None if isinstance(part, TableDescriptors) else part.keys for part in parts]
    known = [part for part in keys if part is not None]
    return np.concatenate(known) if len(known) == len(keys) else None

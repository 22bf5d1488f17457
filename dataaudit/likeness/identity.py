"""Identical content: items that are described by the very same values."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from dataaudit.likeness.descriptors import (
    Descriptors,
    ImageDescriptors,
    SmallImageDescriptors,
    TableDescriptors,
    TextDescriptors,
)


def content_keys(items: Descriptors) -> NDArray[np.object_]:
    """Return `[items]` bytes that two items share only if their content is identical.

    Identical means: the same picture at the size it is compared at, the same text up to case and
    punctuation, the same values in a table row.
    """
    keys = np.empty(len(items), object)
    for position, parts in enumerate(_contents(items)):
        digest = blake2b(digest_size=16)
        for part in parts:
            digest.update(part)
        keys[position] = digest.digest()
    return keys


def _contents(items: Descriptors) -> Iterable[tuple[bytes, ...]]:
    if isinstance(items, ImageDescriptors):
        # Grey beside colour: the same picture has the same three channels.
        return ((np.broadcast_to(t, (*t.shape[:2], 3)).tobytes(),) for t in items.thumbnails)
    if isinstance(items, SmallImageDescriptors):
        return ((pixels.tobytes(),) for pixels in items.pixels)
    if isinstance(items, TextDescriptors):
        return ((text.encode("utf-8", "surrogatepass"),) for text in items.folded)
    return (_fields(items, position) for position in range(len(items)))


def _fields(items: TableDescriptors, position: int) -> tuple[bytes, ...]:
    # Adding zero turns -0.0 into 0.0; all missing values have one bit pattern afterwards.
    numbers = np.where(np.isnan(items.numbers[position]), np.nan, items.numbers[position] + 0.0)
    texts = "\x1f".join(items.categories[position])
    return numbers.tobytes(), texts.encode("utf-8", "surrogatepass")

"""Many texts: in memory while they are few, else in files without a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from dataaudit.storage import on_disk
from dataaudit.storage.on_disk import Growing

TEXTS_AT_ONCE = 4096


class ManyTexts:
    """Texts `[n]` that lie on disk, one after the other; each is made when it is asked for.

    Parameters
    ----------
    content : uint8 `[bytes]`
        All texts in UTF-8.
    ends : int64 `[n]`
        Where each ends in it.
    """

    def __init__(self, content: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self._content, self._ends = content, ends

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: NDArray[np.int64]) -> NDArray[np.object_]: ...

    def __getitem__(self, place: Any) -> Any:
        """Return the text at a position from 0, or those at several as an array `[positions]`."""
        if isinstance(place, np.ndarray):
            found = np.empty(len(place), object)
            found[:] = [self[one] for one in place.tolist()]
            return found
        start = self._ends[place - 1] if place else 0
        return _decoded(self._content[start : self._ends[place]].tobytes())

    def __iter__(self) -> Iterator[str]:
        """Yield all, in their order."""
        before = 0
        for first in range(0, len(self), TEXTS_AT_ONCE):
            ends = self._ends[first : first + TEXTS_AT_ONCE].tolist()
            content = self._content[before : ends[-1]].tobytes()
            for start, end in zip([before, *ends], ends, strict=False):
                yield _decoded(content[start - before : end - before])
            before = ends[-1]


Texts = NDArray[np.object_] | ManyTexts


class GrowingTexts:
    """Texts that are given part by part."""

    def __init__(self) -> None:
        self._few: list[list[str]] = []
        self._letters = 0
        self._content, self._ends, self._written = Growing(), Growing(), 0

    def add(self, texts: Iterable[str]) -> None:
        """Take the next texts, `[texts]`.

        Raises
        ------
        OSError
            The disk is full.
        """
        self._few.append([*texts])
        self._letters += sum(map(len, self._few[-1]))
        if self._letters > on_disk.LARGEST_IN_MEMORY:
            for part in self._few:
                self._put_away(part)
            self._few = []

    def finished(self) -> Texts:
        """Return all texts; an array where they are few."""
        if self._written:
            return ManyTexts(self._content.finished(), self._ends.finished())
        every = [text for part in self._few for text in part]
        found = np.empty(len(every), object)
        found[:] = every
        return found

    def _put_away(self, texts: list[str]) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = self._written + np.cumsum([len(text) for text in encoded], dtype=np.int64)
        self._content.add(np.frombuffer(b"".join(encoded), np.uint8))
        self._ends.add(ends)
        self._written += sum(map(len, encoded))


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")

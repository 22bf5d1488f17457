"""Arrays with a line for each row: in memory while small, else in a file without a name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_IN_MEMORY = 2**22
"""Bytes of an array from which on it lies on disk: then memory that it takes can be given back."""

_folder: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextmanager
def large_arrays_in(folder: Path) -> Iterator[None]:
    """Write large arrays to `folder` inside the `with` block, not where the system has its own."""
    before = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(before)


class Growing:
    """An array that is given part by part.

    The file has no name, so that it goes with the process, however that ends.
    """

    def __init__(self) -> None:
        self._parts: list[NDArray[Any]] = []
        self._bytes = 0
        self._file: Any = None

    def add(self, part: NDArray[Any]) -> None:
        """Take the next lines, `[lines, ...]`.

        Raises
        ------
        ValueError
            They are of another type or width than those before.
        OSError
            The disk is full.
        """
        if self._parts:
            like = self._parts[0]
            if (part.dtype, part.shape[1:]) != (like.dtype, like.shape[1:]):
                raise ValueError(
                    f"found lines of {part.dtype} {part.shape[1:]}, expected {like.dtype} "
                    f"{like.shape[1:]} as before"
                )
        self._parts.append(part)
        self._bytes += part.nbytes
        if self._bytes > LARGEST_IN_MEMORY and not part.dtype.hasobject:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=_folder.get())  # noqa: SIM115
            for waiting in self._parts:
                self._file.write(np.ascontiguousarray(waiting).data)
            # One line says what type and width the array has.
            self._parts = [part[:0]]

    def parts(self, lines: int) -> Iterator[NDArray[Any]]:
        """Yield what was taken, `lines` at a time; nothing where nothing was."""
        whole = self.finished() if self._parts else np.empty(0)
        yield from (whole[start : start + lines] for start in range(0, len(whole), lines))

    def finished(self) -> NDArray[Any]:
        """Return the whole array, `[lines, ...]`; read-only where it lies on disk."""
        if self._file is None:
            return np.concatenate(self._parts)
        (like,) = self._parts
        with self._file as file:
            file.flush()
            whole = np.asarray(np.memmap(file, dtype=like.dtype, mode="r"))
        return whole.reshape(-1, *like.shape[1:])


def one_array(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """Return consecutive parts as one array, at least one; see `Growing`."""
    growing = Growing()
    for part in parts:
        growing.add(part)
    return growing.finished()


def blank(lines: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of zeros to write to, `[lines]`; on disk where it is large.

    Raises
    ------
    OSError
        The disk is full.
    """
    size = lines * kind.itemsize
    if size <= LARGEST_IN_MEMORY or kind.hasobject:
        return np.zeros(lines, kind)
    with tempfile.TemporaryFile(dir=_folder.get()) as file:
        # A full disk is told of here; later, a page that cannot be written ends the process.
        os.posix_fallocate(file.fileno(), 0, size)
        return np.asarray(np.memmap(file, dtype=kind, mode="r+"))


def put_away(values: NDArray[Any]) -> NDArray[Any]:
    """Return the same values; on disk, and out of memory once the given ones go, where many."""
    return one_array([values])

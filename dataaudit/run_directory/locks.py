"""File locks that the operating system gives back when their holder dies, however it dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class BusyError(Exception):
    """Another process, or another place in this one, holds the lock."""


class FileLock:
    """A lock on one file, held from `acquire` to `release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises
        ------
        BusyError
            Somebody holds it.
        OSError
            The file cannot be opened or locked.
        """
        while True:
            file = self._path.open("a+", encoding="ascii")
            try:
                _lock(file)
            except OSError as error:
                file.close()
                if isinstance(error, BlockingIOError | PermissionError):
                    raise BusyError from None
                raise
            if _is_still(self._path, file):
                break
            # Its last holder removed the file after it was opened here; lock the new one.
            file.close()
        self._file = file

    def release(self) -> None:
        """Give the lock back; the file stays."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False

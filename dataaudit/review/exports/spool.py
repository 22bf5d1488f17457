"""Lines that are made in the order of the data and written most suspicious first.

The data is read once and in order, whatever its format; the finished lines wait in a temporary
file. In memory there are two numbers a line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from dataaudit.errors import DataError, writing
from dataaudit.run_directory.atomic import write_atomically


def write_by_rank(
    target: Path,
    lines: Iterable[tuple[int, bytes]],
    *,
    before: bytes = b"",
    between: bytes = b"",
    after: bytes = b"",
) -> int:
    """Write lines in the order of their ranks, and return how many there were.

    Parameters
    ----------
    target : Path
    lines : iterable of (rank, line)
    before, between, after : bytes
        What stands before the first, between any two, and after the last line.
    """
    ranks: list[int] = []
    ends: list[int] = [0]
    with tempfile.TemporaryFile(dir=target.absolute().parent) as spool:
        for rank, line in lines:
            spool.write(line)
            ranks.append(rank)
            ends.append(ends[-1] + len(line))

        def write(path: Path) -> None:
            with path.open("wb") as file:
                file.write(before)
                for number, place in enumerate(np.argsort(ranks, kind="stable")):
                    file.write(between if number else b"")
                    spool.seek(ends[place])
                    file.write(spool.read(ends[place + 1] - ends[place]))
                file.write(after)

        write_file(target, write)
    return len(ranks)


def write_file(target: Path, write: Callable[[Path], object]) -> None:
    """Write a new file by a finished rename.

    Raises
    ------
    DataError
        It cannot be written.
    """
    with writing(target, DataError):
        write_atomically(target, write)

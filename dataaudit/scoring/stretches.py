"""Stretches of rows: a worker that sees the data is told which rows to read, and is sent none."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.like_training import AsTraining
from dataaudit.datasets.memory import ArrayPair, Pairs
from dataaudit.datasets.samples import Batch, Samples, Source
from dataaudit.datasets.set_aside import Kept
from dataaudit.datasets.sources import ColumnSource


@dataclass(frozen=True)
class Stretch:
    """Consecutive rows, without their content: what a worker needs to read them itself.

    Attributes
    ----------
    start : int
        Position of the first.
    ids, labels : `[rows]`
        As in `Batch`.
    """

    start: int
    ids: NDArray[Any]
    labels: NDArray[Any]

    @classmethod
    def of(cls, samples: Samples, start: int, length: int) -> Stretch:
        """Return at most `length` rows from `start` on."""
        part = slice(start, start + length)
        return cls(start, samples.ids[part], samples.labels[part])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)


class Reader:
    """Reads stretches; those that follow each other in one go through the data."""

    def __init__(self, source: Source, length: int) -> None:
        self._source, self._length = source, length
        self._frames: Iterator[pd.DataFrame] = iter(())
        self._next = -1

    def read(self, stretch: Stretch) -> Batch:
        """Return the rows of a stretch."""
        if stretch.start != self._next:
            self._frames = self._source.frames_from(stretch.start, self._length)
        frame = next(self._frames)
        self._next = stretch.start + len(frame)
        positions = np.arange(stretch.start, self._next)
        return Batch(positions, stretch.ids, frame, stretch.labels)


class Shares:
    """Blocks dealt out so that each worker mostly gets those that follow each other.

    A worker whose share is done takes the last half of the largest share that is left.
    """

    def __init__(self, starts: Iterable[int], workers: int) -> None:
        parts = np.array_split(np.fromiter(starts, dtype=np.int64), max(workers, 1))
        self._shares = [deque(part.tolist()) for part in parts]

    def __len__(self) -> int:
        """Return how many blocks are left."""
        return sum(len(share) for share in self._shares)

    def next_for(self, worker: int) -> int:
        """Return the start of the next block for a worker."""
        own = self._shares[worker]
        if not own:
            largest = max(self._shares, key=len)
            taken = [largest.pop() for _ in range(-(-len(largest) // 2))]
            own.extend(reversed(taken))
        return own.popleft()

    def put_back(self, start: int) -> None:
        """Take a block back, so that it is dealt out soon."""
        min(self._shares, key=len).appendleft(start)


def lies_in_files(source: Source) -> bool:
    """Tell whether rows are read from files, which other processes may see, too."""
    if isinstance(source, Kept | AsTraining):
        return lies_in_files(source.source)
    return isinstance(source, ColumnSource) and (bool(source.files()) or source.rows_are_files())


def lies_in_memory(source: Source) -> bool:
    """Tell whether rows are held in memory, neither read from files nor mapped from one."""
    if isinstance(source, Kept | AsTraining):
        return lies_in_memory(source.source)
    held = source.pairs if isinstance(source, Pairs) else None
    is_mapped = isinstance(held, ArrayPair) and isinstance(held.inputs, np.memmap)
    return not lies_in_files(source) and not is_mapped


def sizes_of(source: Source) -> list[int]:
    """Return the bytes of each file that rows are read from, -1 of one that is not there."""
    if isinstance(source, Kept | AsTraining):
        return sizes_of(source.source)
    files = source.files() if isinstance(source, ColumnSource) else []
    return [file.stat().st_size if file.is_file() else -1 for file in files]


def can_read(samples: Samples, sizes: Sequence[int]) -> bool:
    """Tell whether this process can read the rows, from files of these sizes.

    What lies at the same path of another machine may be an older copy, of other rows.
    """
    try:
        is_same = sizes_of(samples.source) == list(sizes)
        return is_same and len(next(samples.source.frames_from(0, 1))) == 1
    except Exception:
        # Whatever stands in the way, rows can still be sent.
        return False

"""Rows on disk that are quick to take at random: an Arrow file, mapped into memory."""

from __future__ import annotations

import itertools
import mmap
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from dataaudit.datasets.frames import block_starts, by_block

SHARE_OF_FREE_DISK = 0.5
"""Of the disk that is free when the rows are written; they are not written where they need more."""
BATCH_BYTES = 32 * 1024 * 1024
BATCH_ROWS = 64 * 1024
"""A record batch is full with so many bytes or rows: few batches, so that few are touched."""


class NoRoomError(Exception):
    """The rows take more of the disk than they may."""


@dataclass(frozen=True)
class MappedRows:
    """Rows as record batches that lie on disk.

    Attributes
    ----------
    batches : sequence of pyarrow.RecordBatch
        Mapped: what is not asked for is not read. The file has no name, so that it goes with the
        process, however that ends.
    starts : int64 `[batches + 1]`
        Position of the first row of each, then the number of rows.
    """

    batches: Sequence[pa.RecordBatch]
    starts: NDArray[np.int64]

    @classmethod
    def write(cls, tables: Iterable[pa.Table], folder: Path) -> MappedRows:
        """Write tables that follow each other to a file in `folder`, which is created.

        Parameters
        ----------
        tables : iterable of pyarrow.Table
            At least one; from `plain_table`.
        folder : Path

        Raises
        ------
        NoRoomError
            They take more than `SHARE_OF_FREE_DISK`.
        OSError
            The folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        allowed = SHARE_OF_FREE_DISK * shutil.disk_usage(folder).free
        with tempfile.TemporaryFile(dir=folder) as file:
            _write(tables, file, allowed)
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = pyarrow.ipc.open_file(pa.py_buffer(mapped))
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        return cls(batches, block_starts([batch.num_rows for batch in batches]))

    def take(self, wanted: NDArray[np.int64]) -> pa.Table:
        """Return the rows at `wanted`, positions in ascending order."""
        found = by_block(self.starts, wanted)
        return pa.Table.from_batches(
            [self.batches[number].take(pa.array(rows)) for number, rows in found]
        )


def _write(tables: Iterable[pa.Table], file: BinaryIO, allowed: float) -> None:
    rest = iter(tables)
    first = next(rest)
    waiting: list[pa.Table] = []
    size = rows = written = 0
    with pyarrow.ipc.new_file(pa.PythonFile(file, "w"), first.schema) as writer:
        for table in itertools.chain([first], rest):
            waiting.append(table)
            size, rows = size + table.nbytes, rows + len(table)
            if written + size > allowed:
                raise NoRoomError
            if size >= BATCH_BYTES or rows >= BATCH_ROWS:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())
                written += size
                waiting, size, rows = [], 0, 0
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())

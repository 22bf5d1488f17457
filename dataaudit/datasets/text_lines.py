"""Text files of records, cut into blocks of whole records that can be read again one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.files import readable
from dataaudit.datasets.frames import distinct, in_order, pick
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError

BLOCK_BYTES = 256 * 1024
"""Small enough that a random access parses little, large enough that the calls cost little."""

RECORD_BYTES = 64 * 1024 * 1024
"""A longer record is taken for a file without line ends (or a quote that is never closed)."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class TextBlock:
    """Whole records, as they stand in the file.

    Attributes
    ----------
    offset, size : int
        Where the block begins in the file, and its length, in bytes.
    first_line : int
        The number of its first line; the first line of the file is 1.
    """

    offset: int
    size: int
    first_line: int


@dataclass(frozen=True)
class RowOffsets:
    """Where each row of a text file lies; `begins` and `ends` int64 `[n]`, in bytes."""

    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(
        cls, blocks: Sequence[TextBlock], lines: Sequence[NDArray[np.int64]], counts: Sequence[int]
    ) -> RowOffsets | None:
        """Join what was found block by block.

        Parameters
        ----------
        blocks : sequence of TextBlock
        lines : sequence of int64 arrays
            Where records begin in each block, as far as lines tell.
        counts : sequence of int
            Rows of each block, by the parser.

        Returns
        -------
        RowOffsets, or None where lines and parser differ: a carriage return of its own that ends
        a record, say.
        """
        if [len(begins) for begins in lines] != list(counts):
            return None
        begins = [block.offset + first for block, first in zip(blocks, lines, strict=True)]
        ends = [
            np.append(first[1:], block.offset + block.size)
            for block, first in zip(blocks, begins, strict=True)
        ]
        nothing = np.zeros(0, dtype=np.int64)
        return cls(np.concatenate([nothing, *begins]), np.concatenate([nothing, *ends]))

    def records(self, path: Path, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield what stands in the file for each of some rows."""
        with path.open("rb") as file:
            for begin, end in zip(
                self.begins[rows].tolist(), self.ends[rows].tolist(), strict=True
            ):
                file.seek(begin)
                yield file.read(end - begin)


@dataclass(frozen=True)
class TextRows(ColumnSource, ABC):
    """The rows of a file of text. Eight bytes a row are held: where it begins.

    `take` reads and parses the rows asked for, nothing else.
    """

    description: str
    path: Path
    blocks: list[TextBlock]
    starts: NDArray[np.int64]
    """Position of the first row of each block, then the number of rows. `[blocks + 1]`"""
    offsets: RowOffsets | None
    """None where the rows of a block cannot be told apart without parsing it."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.starts[-1])

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, a block at a time, with only `columns` where given."""
        for block in range(len(self.blocks)):
            yield self._read(block, columns)

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        if self.offsets is None:
            return pick(self.starts, positions, lambda block, rows: self._read(block, rows=rows))
        wanted, place = distinct(positions, len(self))
        with readable(self.description, "a text file"):
            records = list(self.offsets.records(self.path, wanted))
        try:
            frame = self._parsed(records)
        except DataError as error:
            # It could be parsed when it was opened.
            raise changed(self.description) from error
        if len(frame) != len(wanted):
            raise changed(self.description)
        return in_order(frame, wanted, place)

    def files(self) -> list[Path]:
        """Return the file."""
        return [self.path]

    @abstractmethod
    def _parsed(self, records: Sequence[bytes]) -> pd.DataFrame:
        """Return rows by what stands in the file for each."""

    @abstractmethod
    def _read(
        self,
        block: int,
        columns: Sequence[str] | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> pd.DataFrame:
        """Return the rows of a block, or some of them (counted from its start, ascending)."""


def text_blocks(
    path: Path, description: str, continues: Callable[[bytes, bool], bool]
) -> Iterator[tuple[TextBlock, bytes, NDArray[np.int64]]]:
    """Yield the blocks of a text file with their bytes; memory is bounded by the block.

    What comes third is where records begin in the block; blank lines are none.

    Parameters
    ----------
    path : Path
    description : str
        What errors call the file.
    continues : function of (line, continued) to bool
        Whether the record goes on after this line, given whether it had begun before it.

    Raises
    ------
    DataError
        When the file cannot be read, is not UTF-8, or holds a record without end.
    """
    with readable(description, "a text file"), path.open("rb") as file:
        mark = file.read(len(BYTE_ORDER_MARK))
        offset = len(BYTE_ORDER_MARK) if mark == BYTE_ORDER_MARK else 0
        file.seek(offset)
        line_number = 0
        first_line = record_line = 1
        lines: list[bytes] = []
        begins: list[int] = []
        size = record_size = 0
        open_record = False
        while line := file.readline(RECORD_BYTES + 1):
            line_number += 1
            if not open_record:
                record_line, record_size = line_number, 0
                if line.strip(b"\r\n"):
                    begins.append(size)
            record_size += len(line)
            if record_size > RECORD_BYTES:
                raise DataError(
                    f"{description}: the record that begins in line {record_line} is longer than"
                    f" {RECORD_BYTES // 2**20} MiB: a quote is not closed, or the lines have no"
                    " ends"
                )
            lines.append(line)
            size += len(line)
            open_record = continues(line, open_record)
            if size >= BLOCK_BYTES and not open_record:
                content = b"".join(lines)
                _refuse_other_encodings(content, first_line, description)
                yield TextBlock(offset, size, first_line), content, np.array(begins, np.int64)
                offset += size
                first_line = line_number + 1
                lines, begins, size = [], [], 0
        content = b"".join(lines)
        _refuse_other_encodings(content, first_line, description)
        if open_record:
            raise DataError(
                f"{description}: line {record_line}: a quote is opened and never closed"
            )
        if content:
            yield TextBlock(offset, size, first_line), content, np.array(begins, np.int64)


def read_block(path: Path, block: TextBlock, description: str) -> bytes:
    """Return the bytes of one block."""
    with readable(description, "a text file"), path.open("rb") as file:
        file.seek(block.offset)
        return file.read(block.size)


def changed(description: str) -> DataError:
    """Return the error for a file that is no longer what it was when it was opened."""
    return DataError(f"{description}: the file changed while it was being read")


def _refuse_other_encodings(content: bytes, first_line: int, description: str) -> None:
    """Raise a `DataError` that names the line when a block is not UTF-8."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        column = error.start - content.rfind(b"\n", 0, error.start)
        wide = first_line == 1 and content[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise DataError(
            f"{description}: line {line}: byte 0x{content[error.start]:02x} at column {column} is"
            f" not UTF-8{' (it looks like UTF-16)' if wide else ''}; save the file as UTF-8"
        ) from error

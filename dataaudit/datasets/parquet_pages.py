"""How many bytes the pages of a Parquet file announce, read from the headers of the pages.

Arrow makes room for what a page announces before it unpacks it; the footer's sums may say less.
Headers are structs of Thrift's compact protocol, `PageHeader` of parquet.thrift:
https://github.com/apache/parquet-format, and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet

_WHOLE_NUMBERS = (4, 5, 6)
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_UNPACKED, _PACKED = 2, 3
"""Fields of a page's header: its bytes before and after compression."""
_MOST_BYTES_READ = 10_000
"""Of one header; its texts are passed over."""


def page_bytes(path: Path, metadata: pyarrow.parquet.FileMetaData) -> Iterator[int]:
    """Yield how many bytes each page holds once it is unpacked.

    Raises
    ------
    ValueError, IndexError
        A header is damaged.
    """
    columns = [
        metadata.row_group(group).column(place)
        for group in range(metadata.num_row_groups)
        for place in range(metadata.num_columns)
    ]
    if sum(column.total_compressed_size for column in columns) > path.stat().st_size:
        raise ValueError("its columns lie over each other, or beyond its end")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for column in columns:
            # 0 or missing where there is no such page.
            places = (column.data_page_offset, column.dictionary_page_offset)
            start = min(filter(None, places), default=0)
            yield from _pages(content, start, start + column.total_compressed_size)


def _pages(content: mmap.mmap, place: int, end: int) -> Iterator[int]:
    while 0 <= place < end:
        header = _Reader(content, place)
        found = header.struct()
        unpacked, packed = found.get(_UNPACKED, -1), found.get(_PACKED, -1)
        if unpacked < 0 or packed < 0:
            raise ValueError(f"the page at byte {place} has no size")
        yield unpacked
        place = header.place + packed


@dataclass
class _Reader:
    """Reads one value after the other; `place` moves on."""

    content: mmap.mmap
    place: int
    read: int = 0

    def struct(self) -> dict[int, int]:
        """Return the fields that are whole numbers by their ids."""
        found: dict[int, int] = {}
        field = 0
        while kind := self.byte():
            field = field + (kind >> 4) if kind >> 4 else self.number()
            kind &= 15
            if kind in _WHOLE_NUMBERS:
                found[field] = self.number()
            elif kind not in (_TRUE, _FALSE):
                self.skip(kind)
        return found

    def skip(self, kind: int) -> None:
        """Pass over a value; that of a bool in a list is a byte."""
        if kind in (_TRUE, _FALSE, _BYTE):
            self.byte()
        elif kind in _WHOLE_NUMBERS:
            self.number()
        elif kind == _DOUBLE:
            self.place += 8
        elif kind == _BINARY:
            # Its length moves the place, too.
            length = self.unsigned()
            self.place += length
        elif kind in (_LIST, _SET):
            first = self.byte()
            for _ in range(first >> 4 if first >> 4 < 15 else self.unsigned()):
                self.skip(first & 15)
        elif kind == _MAP:
            count = self.unsigned()
            kinds = self.byte() if count else 0
            for _ in range(count):
                self.skip(kinds >> 4)
                self.skip(kinds & 15)
        elif kind == _STRUCT:
            self.struct()
        else:
            raise ValueError(f"a page's header holds a value of the unknown kind {kind}")

    def byte(self) -> int:
        self.place += 1
        self.read += 1
        if self.read > _MOST_BYTES_READ:
            raise ValueError("a page's header has no end")
        return self.content[self.place - 1]

    def unsigned(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 63:
                return value

    def number(self) -> int:
        value = self.unsigned()
        return (value >> 1) ^ -(value & 1)

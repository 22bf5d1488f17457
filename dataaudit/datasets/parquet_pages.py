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
from typing import Any

import pyarrow.parquet

_WHOLE_NUMBERS = (4, 5, 6)
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_UNPACKED, _PACKED = 2, 3
"""Fields of a page's header: its bytes before and after compression."""
_ROW_GROUPS, _CHUNKS, _DESCRIPTION = 4, 1, 3
"""Fields of the footer, of a row group, of a column there."""
_COLUMN_BYTES, _DATA_PAGE, _DICTIONARY_PAGE, _SIZES = 7, 9, 11, 16
_HISTOGRAMS = (2, 3)
"""Fields of a column's sizes: of repetition and of definition levels."""
_DEEPEST = 20
_MOST_BYTES_READ = 10_000
"""Of one header; its texts are passed over."""


def page_bytes(path: Path, metadata: pyarrow.parquet.FileMetaData) -> Iterator[int]:
    """Yield how many bytes each page holds once it is unpacked.

    Where the footer describes a column in a way that Arrow does not expect, Arrow ends the process
    when it is asked for the column. So the footer is read here.

    Raises
    ------
    ValueError, IndexError
        The footer or a header is damaged.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        columns = list(_columns(content, metadata))
        if sum(column[_COLUMN_BYTES] for column in columns) > len(content):
            raise ValueError("its columns lie over each other, or beyond its end")
        for column in columns:
            # 0 or missing where there is no such page.
            places = (_field(column, _DATA_PAGE, 0), _field(column, _DICTIONARY_PAGE, 0))
            start = min(filter(None, places), default=0)
            yield from _pages(content, start, start + column[_COLUMN_BYTES])


def _columns(
    content: mmap.mmap, metadata: pyarrow.parquet.FileMetaData
) -> Iterator[dict[int, Any]]:
    """Yield what the footer says of each column of each row group, by the ids of fields."""
    length = int.from_bytes(content[-8:-4], "little")
    footer = _Reader(content, len(content) - 8 - length, most=length).value(_STRUCT)
    levels = [metadata.schema.column(place) for place in range(metadata.num_columns)]
    for group in _field(footer, _ROW_GROUPS, []):
        chunks = _field(group, _CHUNKS, [])
        if len(chunks) != len(levels):
            raise ValueError(f"a row group has {len(chunks)} columns, not {len(levels)}")
        for chunk, level in zip(chunks, levels, strict=True):
            column = _field(chunk, _DESCRIPTION, {})
            if _field(column, _COLUMN_BYTES, -1) < 0:
                raise ValueError("a column has no size")
            sizes = _field(column, _SIZES, {})
            for counts, most in zip(_HISTOGRAMS, _most_levels(level), strict=True):
                if len(_field(sizes, counts, [])) not in (0, most + 1):
                    raise ValueError("a column counts levels that it does not have")
            yield column


def _field(values: Any, field: int, default: Any) -> Any:
    """Return a struct's field, of the type that the default has."""
    found = values.get(field, default) if isinstance(values, dict) else None
    if not isinstance(found, type(default)):
        raise ValueError(f"field {field} of its footer is damaged")
    return found


def _most_levels(column: pyarrow.parquet.ColumnSchema) -> tuple[int, int]:
    return column.max_repetition_level, column.max_definition_level


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
    most: int = _MOST_BYTES_READ
    read: int = 0
    depth: int = 0

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

    def value(self, kind: int) -> Any:
        """Return a value: a whole number, a list, a struct by its fields' ids; None for others."""
        if kind in _WHOLE_NUMBERS:
            return self.number()
        if kind in (_LIST, _SET):
            first = self.byte()
            count = first >> 4 if first >> 4 < 15 else self.unsigned()
            return [self.value(first & 15) for _ in range(count)]
        if kind != _STRUCT:
            self.skip(kind)
            return None
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError("its footer is nested too deep")
        found: dict[int, Any] = {}
        field = 0
        while kind := self.byte():
            field = field + (kind >> 4) if kind >> 4 else self.number()
            kind &= 15
            found[field] = None if kind in (_TRUE, _FALSE) else self.value(kind)
        self.depth -= 1
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
        if self.read > self.most:
            raise ValueError("a header has no end")
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

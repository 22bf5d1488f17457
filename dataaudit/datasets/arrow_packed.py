"""How many bytes the packed buffers of Arrow files announce, read from the messages' headers.

pyarrow makes room for what is announced before it unpacks anything. The headers are flatbuffers;
their layout is that of `Message.fbs` and `File.fbs` in the Arrow columnar format:
https://arrow.apache.org/docs/format/Columnar.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

FILE_MAGIC = b"ARROW1"
_DICTIONARY, _ROWS = 2, 3
"""Kinds of messages, by the union `MessageHeader`."""
_PACKED_BEFORE = b"ARROW:experimental_compression"
"""How a message said that it is packed before Arrow 1.0; pyarrow still reads it."""


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer that begins at `place`; its fields by their number in the schema."""

    content: bytes
    place: int

    @classmethod
    def root(cls, content: bytes) -> _Table:
        return cls(content, _number("<I", content, 0))

    def at(self, field: int) -> int:
        """Return where a field lies; 0 where it has its default, as what lies first never is."""
        layout = self.place - _number("<i", self.content, self.place)
        size = _number("<H", self.content, layout)
        here = 4 + 2 * field
        offset = _number("<H", self.content, layout + here) if here < size else 0
        return self.place + offset if offset else 0

    def table(self, field: int) -> _Table:
        place = self.at(field)
        return _Table(self.content, place + _number("<I", self.content, place))

    def structs(self, field: int, form: str) -> Iterator[tuple[int, ...]]:
        """Yield the elements of a vector of structs."""
        place = self.at(field)
        if place:
            place += _number("<I", self.content, place)
            end = place + 4 + struct.calcsize(form) * _number("<I", self.content, place)
            yield from struct.iter_unpack(form, self.content[place + 4 : end])


def unpacked_bytes(path: Path) -> Iterator[int]:
    """Yield how many bytes each packed buffer of an Arrow file or stream announces.

    Raises
    ------
    ValueError
        A header is damaged; pyarrow's own errors (`pyarrow.ArrowException`, `OSError`) besides.
    """
    with pa.memory_map(str(path)) as mapped:
        for message in _messages(mapped):
            try:
                yield from _announced(message)
            except struct.error as error:
                raise ValueError(f"a message's header is damaged: {error}") from error


def _messages(mapped: pa.MemoryMappedFile) -> Iterator[pa.ipc.Message]:
    if mapped.read(len(FILE_MAGIC)) == FILE_MAGIC:
        # A file says at its end where its messages lie; nothing else in it is read.
        for place in _blocks(mapped):
            mapped.seek(place)
            yield pa.ipc.read_message(mapped)
        return
    mapped.seek(0)
    yield from pa.ipc.MessageReader.open_stream(mapped)


def _blocks(mapped: pa.MemoryMappedFile) -> Iterator[int]:
    ending = 4 + len(FILE_MAGIC)
    mapped.seek(max(mapped.size() - ending, 0))
    try:
        (size,) = struct.unpack("<i", mapped.read(4))
        mapped.seek(max(mapped.size() - ending - size, 0))
        footer = _Table.root(mapped.read(max(size, 0)))
        for dictionaries_or_rows in (2, 3):
            for place, *_ in footer.structs(dictionaries_or_rows, "<qi4xq"):
                yield place
    except struct.error as error:
        raise ValueError(f"the footer is damaged: {error}") from error


def _announced(message: pa.ipc.Message) -> Iterator[int]:
    header = _Table.root(message.metadata.to_pybytes())
    kind = header.content[header.at(1)] if header.at(1) else 0
    if kind not in (_DICTIONARY, _ROWS):
        return
    batch = header.table(2) if kind == _ROWS else header.table(2).table(1)
    if not batch.at(3) and _PACKED_BEFORE not in header.content:
        # Not packed: what is announced has to lie in the file.
        return
    body = message.body
    for offset, length in batch.structs(2, "<qq"):
        if length > 0 and body is not None:
            # Eight bytes before each buffer; -1 for one that is not packed.
            (size,) = struct.unpack("<q", body.slice(max(offset, 0), 8).to_pybytes())
            yield max(size, 0)


def _number(form: str, content: bytes, place: int) -> int:
    if place < 0:
        raise struct.error("an offset leads out of it")
    (value,) = struct.unpack_from(form, content, place)
    return int(value)

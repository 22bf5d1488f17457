"""Text that is unpacked before it is read: gzip, UTF-16, and JSON that is one list of objects.

What is unpacked lies in a file of its own, because rows are read at random; it is removed when
nothing reads it any more. How much that may be is bounded before and while it is written.
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from dataaudit.datasets import comma_separated, json_lines
from dataaudit.datasets.files import most_bytes, readable, too_many_bytes
from dataaudit.datasets.mapped_rows import SHARE_OF_FREE_DISK
from dataaudit.datasets.sources import ColumnSource, Format
from dataaudit.datasets.text_lines import RECORD_BYTES
from dataaudit.errors import DataError

_PIECE = 1024 * 1024
_BETWEEN = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_NESTED = (dict, list)
_AS_ROWS = (
    "expected a list of objects or an object a line, a row each (pandas writes one with "
    "to_json(path, orient='records'))"
)


@dataclass(frozen=True)
class Unpacked(ColumnSource):
    """The rows of a file, read from what it was unpacked to."""

    description: str
    path: Path
    inner: ColumnSource
    kept: _Place

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inner)

    def columns(self) -> list[str]:
        """Return the column names, in order."""
        return self.inner.columns()

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, in frames of any length, with only `columns` where given."""
        yield from self.inner.stream(columns)

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        return self.inner.take(positions)

    def files(self) -> list[Path]:
        """Return the file as the user has it."""
        return [self.path]

    def as_text(self, column: str) -> Unpacked:
        """Return the same rows with a column as it is written."""
        return Unpacked(self.description, self.path, self.inner.as_text(column), self.kept)

    def note(self) -> str | None:
        """Return what was guessed of how the rows are written."""
        return self.inner.note()

    def why_not_rewritten(self) -> str:
        """Return that corrections go into a file that is not packed."""
        return (
            "corrections are written into files that are not packed; save it as UTF-8 in .csv or "
            ".jsonl, and audit that"
        )


class _Place:
    """A file that is removed with this object, and in any case when the process ends."""

    def __init__(self, ending: str) -> None:
        handle, name = tempfile.mkstemp(prefix="dataaudit-", suffix=ending)
        os.close(handle)
        self.path = Path(name)
        weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(path: Path, process: int) -> None:
    # A forked process shares the file, and ends first.
    if os.getpid() == process:
        path.unlink(missing_ok=True)


def _open_packed(path: Path, description: str) -> ColumnSource:
    ending = Path(path.stem).suffix.lower()
    place = _Place(ending)
    with readable(description, "a gzip file"):
        try:
            with gzip.open(path) as packed:
                _write(_pieces(packed), place.path, path, description)
        except (EOFError, zlib.error) as error:
            raise DataError(f"{description}: the gzip file is damaged: {error}") from error
    return Unpacked(description, path, _OPENERS[ending](place.path, description), place)


def _open_json(path: Path, description: str) -> ColumnSource:
    """Open JSON that is a list of objects; where it begins with an object, objects line by line."""
    with readable(description, "a JSON file"), path.open("rb") as file:
        start = file.read(_PIECE).decode("utf-8-sig", "replace").lstrip()
    if not start.startswith("["):
        return _open_json_objects(path, description)
    place = _Place(".jsonl")
    with (
        readable(description, "a JSON list of objects"),
        path.open(encoding="utf-8-sig", newline="") as file,
    ):
        objects = (f"{each}\n".encode() for each in _objects(iter(lambda: file.read(_PIECE), "")))
        _write(objects, place.path, path, description)
    rows = json_lines.JsonLines.open(place.path, f"{description} (each object a line)")
    return Unpacked(description, path, rows, place)


def _open_json_objects(path: Path, description: str) -> ColumnSource:
    """Open JSON that has an object a line; refuse one object that holds all rows or columns."""
    try:
        rows = json_lines.JsonLines.open(path, description)
    except DataError as error:
        if f"{description}: line 1: " not in str(error):
            raise
        raise DataError(f"{error}; {_AS_ROWS}") from error
    if len(rows) == 1:
        for name, value in rows.take([0]).iloc[0].items():
            inner = value[0] if isinstance(value, list) and value else value
            if isinstance(value, dict) or (isinstance(value, list) and isinstance(inner, _NESTED)):
                raise DataError(
                    f"{description}: holds one object, with rows in {name!r}; {_AS_ROWS}"
                )
    return rows


def _open_utf16(path: Path, description: str) -> ColumnSource:
    """Open text in UTF-16, which it says by its first two bytes, as spreadsheets save it."""
    place = _Place(path.suffix.lower())
    with (
        readable(description, "text in UTF-16"),
        path.open(encoding="utf-16", newline="") as file,
    ):
        _write(
            (piece.encode() for piece in iter(lambda: file.read(_PIECE), "")),
            place.path,
            path,
            description,
        )
    return Unpacked(
        description, path, _OPENERS[path.suffix.lower()](place.path, description), place
    )


def _is_utf16(path: Path) -> bool:
    if not (path.is_file() and path.suffix.lower() in _OPENERS):
        return False
    with path.open("rb") as file:
        return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _pieces(file: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _write(pieces: Iterable[bytes], target: Path, original: Path, description: str) -> None:
    """Write what a file holds, or refuse it as soon as that is more than it can hold."""
    allowed = most_bytes([original])
    room = int(SHARE_OF_FREE_DISK * shutil.disk_usage(target.parent).free)
    written = 0
    with target.open("wb") as copy:
        for piece in pieces:
            written += len(piece)
            if written > allowed:
                raise too_many_bytes(description)
            if written > room:
                raise DataError(
                    f"{description}: takes more than {room:,} bytes unpacked, "
                    f"{SHARE_OF_FREE_DISK:.0%} of what is free in {target.parent}"
                )
            copy.write(piece)


def _objects(pieces: Iterator[str]) -> Iterator[str]:
    """Yield the elements of a JSON list, each in one line, holding one in memory at a time.

    Raises
    ------
    ValueError
        It is no such list.
    """
    text = next(pieces, "").lstrip()[1:]
    place = number = 0
    while True:
        place = _after_blanks(text, place)
        if place < len(text) and text[place] == "]" and number == 0:
            break
        try:
            # A number may go on in the next piece; objects end where they end.
            _, end = _DECODER.raw_decode(text, place)
            end = _after_blanks(text, end)
            whole = end < len(text)
        except ValueError:
            whole = False
        if not whole:
            more = next(pieces, "")
            if not more or len(text) - place > RECORD_BYTES:
                raise ValueError(f"element {number} is not usable JSON, or the list has no end")
            # As much again as is waiting, so that a long element is not begun too often.
            while len(more) < len(text) - place and (further := next(pieces, "")):
                more += further
            text, place = text[place:] + more, 0
            continue
        yield text[place:end].replace("\n", " ").replace("\r", " ")
        number += 1
        if text[end] == "]":
            place = end
            break
        if text[end] != ",":
            raise ValueError(f"expected a comma after element {number - 1}, found {text[end]!r}")
        place = end + 1
    if (text[place + 1 :] + "".join(pieces)).strip():
        raise ValueError("something stands behind the end of the list")


def _after_blanks(text: str, place: int) -> int:
    match = _BETWEEN.match(text, place)
    assert match is not None
    return match.end()


_OPENERS: dict[str, Callable[[Path, str], ColumnSource]] = {
    ".csv": comma_separated.CommaSeparated.open,
    ".tsv": comma_separated.CommaSeparated.open,
    ".jsonl": json_lines.JsonLines.open,
    ".json": _open_json,
}
GZIP = Format.of_files(_open_packed, *(f"{ending}.gz" for ending in _OPENERS))
UTF16 = Format(_is_utf16, lambda path, _: _open_utf16(path, str(path)))
JSON = Format.of_files(_open_json, ".json")

"""Shards: tar files of samples, by the naming convention of webdataset.

A sample is the members that follow each other under one key: the path up to the first dot of the
file name. What comes after the dot names the column: `dog/0001.jpg` and `dog/0001.cls` are the
columns `jpg` and `cls` of the sample `dog/0001`. Columns of JSON objects are called `json.KEY`.
The column `__key__` holds the shard and the key, and is the row id where none is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.files import readable
from dataaudit.datasets.frames import block_starts, pick
from dataaudit.datasets.json_values import COLUMNS, Column, Kind, json_object, series
from dataaudit.datasets.shard_paths import ENDING, shard_paths
from dataaudit.datasets.sources import ColumnSource, Format
from dataaudit.datasets.tar_members import Member, members
from dataaudit.datasets.text_lines import RECORD_BYTES, changed
from dataaudit.errors import DataError

KEY = "__key__"
NUMBERS = ("cls", "cls2", "class", "count", "index", "inx", "id")
"""Members that hold a whole number, or else a short text."""
TEXTS = ("txt", "text", "transcript")
OBJECTS = ("json", "jsn")

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_ROWS_PER_FRAME = 1024
_BYTES_PER_FRAME = 4 * 1024 * 1024
_BUFFER_BYTES = 128 * 1024


@dataclass(frozen=True)
class _Sample:
    """The members of one sample, by extension; `start`, `stop`: their place in the shard."""

    key: str
    start: int
    parts: dict[str, Member]

    @property
    def stop(self) -> int:
        return max(member.stop for member in self.parts.values())


@dataclass(frozen=True)
class TarShards(ColumnSource):
    """The samples of one or more shards. Eight bytes a row are held: where it begins."""

    description: str
    paths: list[Path]
    kinds: dict[str, Kind]
    extensions: dict[str, str]
    """The extension of the members that fill each column."""
    tolerate: bool
    offsets: list[NDArray[np.int64]]
    """For each shard: where each row begins, then where the last one ends, in bytes."""
    starts: NDArray[np.int64]
    """Position of the first row of each shard, then the number of rows. `[shards + 1]`"""

    @classmethod
    def open(cls, paths: Sequence[Path], description: str, tolerate: bool = False) -> TarShards:
        """Read the shards once to find the samples and settle the types of their columns.

        Parameters
        ----------
        paths : sequence of Path
        description : str
            What errors call them.
        tolerate : bool
            Whether a text that is not UTF-8 and a JSON member that holds no object count as
            missing, so that the row can be set aside.

        Raises
        ------
        DataError
            A shard is no tar file, is cut short, holds links, or names a member twice.
        """
        columns = _Columns(tolerate)
        offsets = []
        for path in paths:
            begins = [0]
            with readable(str(path), "a tar file"), _opened(path) as file:
                for sample in _samples(file, path):
                    begins[-1:] = [sample.start, sample.stop]
                    columns.see(file, sample, str(path))
            offsets.append(np.array(begins, dtype=np.int64))
        starts = block_starts([len(begins) - 1 for begins in offsets])
        kinds = columns.kinds(int(starts[-1]))
        return cls(description, list(paths), kinds, columns.extensions, tolerate, offsets, starts)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.starts[-1])

    def columns(self) -> list[str]:
        """Return the column names, in the order in which the shards first name them."""
        return [KEY, *self.kinds]

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, in frames of any length, with only `columns` where given."""
        wanted = self.columns() if columns is None else list(columns)
        for shard, begins in enumerate(self.offsets):
            records: list[dict[str, Any]] = []
            size = 0
            for record, bytes_read in self._records(shard, range(len(begins) - 1), wanted):
                records.append(record)
                size += bytes_read
                if len(records) == _ROWS_PER_FRAME or size >= _BYTES_PER_FRAME:
                    yield self._frame(records, wanted)
                    records, size = [], 0
            if records:
                yield self._frame(records, wanted)

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""

        def rows_of(shard: int, rows: NDArray[np.int64]) -> pd.DataFrame:
            wanted = self.columns()
            records = [record for record, _ in self._records(shard, rows.tolist(), wanted)]
            return self._frame(records, wanted)

        return pick(self.starts, positions, rows_of)

    def files(self) -> list[Path]:
        """Return the shards."""
        return self.paths

    def image_root(self) -> None:
        """Return None: images are members, no text is a path."""

    def key_column(self) -> str:
        """Return the column of keys."""
        return KEY

    def members(self) -> dict[str, str]:
        """Return the extension of the members that fill each column."""
        return self.extensions

    def why_not_rewritten(self) -> str:
        """Return why corrections are not written into shards."""
        return (
            "shards are not rewritten; correct the labels where the shards are made (dataaudit "
            "export --to jsonl lists the rows by shard and key)"
        )

    def _records(
        self, shard: int, rows: Sequence[int], wanted: Sequence[str]
    ) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield the values of rows of a shard, and the bytes that were read for each."""
        path, begins = self.paths[shard], self.offsets[shard]
        needed = {self.extensions[name] for name in wanted if name != KEY}
        with readable(str(path), "a tar file"), _opened(path) as file:
            for row in rows:
                found = list(_samples(file, path, int(begins[row]), int(begins[row + 1])))
                if len(found) != 1:
                    raise changed(str(path))
                record = {KEY: f"{path.name}/{found[0].key}"}
                bytes_read = 0
                for extension, member in found[0].parts.items():
                    if extension in needed:
                        values = _values(file, member, extension, str(path), self.tolerate)
                        record.update(values)
                        bytes_read += member.size
                yield record, bytes_read

    def _frame(self, records: list[dict[str, Any]], wanted: Sequence[str]) -> pd.DataFrame:
        filled = {}
        try:
            for name in wanted:
                values = [record.get(name) for record in records]
                kind = "text" if name == KEY else self.kinds[name]
                filled[name] = series(values, kind)
        except (ValueError, TypeError, OverflowError) as error:
            raise changed(self.description) from error
        return pd.DataFrame(filled, index=pd.RangeIndex(len(records)))


class _Columns:
    """The columns of all samples so far."""

    def __init__(self, tolerate: bool) -> None:
        self._tolerate = tolerate
        self.extensions: dict[str, str] = {}
        self._values: dict[str, Column] = {}

    def see(self, file: BinaryIO, sample: _Sample, where: str) -> None:
        """Take another sample into account."""
        for extension, member in sample.parts.items():
            kind = extension.rpartition(".")[2]
            if kind in NUMBERS or kind in OBJECTS:
                found = _values(file, member, extension, where, self._tolerate)
            else:
                found = {extension: None}
            for name, value in found.items():
                if self.extensions.setdefault(name, extension) != extension or name == KEY:
                    raise DataError(f"{where}: two columns are called {name!r}; rename one")
                self._values.setdefault(name, Column()).see([value])
            if len(self._values) > COLUMNS:
                raise DataError(f"{where}: more than {COLUMNS} different columns")

    def kinds(self, rows: int) -> dict[str, Kind]:
        """Return what holds every value of each column."""
        return {
            name: "text" if self.extensions[name].rpartition(".")[2] in TEXTS else column.kind(rows)
            for name, column in self._values.items()
        }


def _opened(path: Path) -> BinaryIO:
    return path.open("rb", buffering=_BUFFER_BYTES)


def _samples(
    file: BinaryIO, path: Path, start: int = 0, stop: int | None = None
) -> Iterator[_Sample]:
    """Yield the samples of a shard, or of a part of it; members without a key are passed over."""
    sample: _Sample | None = None
    for member in members(file, path.stat().st_size, str(path), start, stop):
        named = _key_and_extension(member.name)
        if named is None:
            continue
        key, extension = named
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = _Sample(key, member.start, {})
        if extension in sample.parts:
            raise DataError(f"{path}: two members of the sample {key} end in .{extension}")
        sample.parts[extension] = member
    if sample is not None:
        yield sample


def _key_and_extension(name: str) -> tuple[str, str] | None:
    """Split a path at the first dot of its last part; None for what belongs to no sample."""
    folder, slash, file = name.rpartition("/")
    stem, dot, extension = file.partition(".")
    if not stem or not dot or (stem.startswith("__") and stem.endswith("__")):
        return None
    return f"{folder}{slash}{stem}", extension.lower()


def _values(
    file: BinaryIO, member: Member, extension: str, where: str, tolerate: bool
) -> dict[str, Any]:
    """Return the columns that a member fills."""
    kind = extension.rpartition(".")[2]
    is_text = kind in NUMBERS or kind in TEXTS or kind in OBJECTS
    where = f"{where}: {member.name}"
    if is_text and member.size > RECORD_BYTES:
        raise DataError(f"{where}: has more than {RECORD_BYTES // 2**20} MiB")
    file.seek(member.offset)
    content = file.read(member.size)
    if not is_text:
        return {extension: content}
    try:
        if kind in OBJECTS:
            found = json_object(content, where)
            return {f"{extension}.{key}": value for key, value in found.items()}
        text = _decoded(content, where)
    except DataError:
        if not tolerate:
            raise
        return {}
    return {extension: text if kind in TEXTS else _number_or_text(text.strip())}


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: is not UTF-8: {error.reason} at byte {error.start}") from error


def _number_or_text(text: str) -> int | str | None:
    if _WHOLE.fullmatch(text):
        return int(text)
    return text or None


def _open(path: Path, tolerate: bool) -> TarShards:
    return TarShards.open(shard_paths(path) or [], str(path), tolerate)


FORMAT = Format(lambda path: shard_paths(path) is not None, _open, (ENDING,))

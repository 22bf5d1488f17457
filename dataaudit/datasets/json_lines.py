"""JSONL files: one JSON object a line, UTF-8, read and rewritten block by block.

The type of each column is settled by one pass over the whole file; see `json_values`. A key that
is missing is a missing value, as `null` is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.changes import (
    Changes,
    as_cell,
    as_listed,
    first_row_of,
    labels_are_text,
)
from dataaudit.datasets.frames import block_starts
from dataaudit.datasets.json_values import COLUMNS, Column, Kind, json_object, series
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import Format
from dataaudit.datasets.text_lines import (
    RowOffsets,
    TextBlock,
    TextRows,
    changed,
    read_block,
    text_blocks,
)
from dataaudit.errors import DataError

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class JsonLines(TextRows):
    """The rows of a JSONL file."""

    kinds: dict[str, Kind]

    @classmethod
    def open(cls, path: Path, description: str) -> JsonLines:
        """Read the file once to settle types and find the blocks.

        Raises
        ------
        DataError
            When the file is not UTF-8, or a line is not a JSON object.
        """
        columns: dict[str, Column] = {}
        blocks: list[TextBlock] = []
        counts: list[int] = []
        lines: list[NDArray[np.int64]] = []
        for block, content, begins in text_blocks(path, description, _every_line_ends):
            records = [
                json_object(line, f"{description}: line {number}")
                for number, line in _lines(content, block)
            ]
            names = dict.fromkeys(name for record in records for name in record)
            for name in names:
                columns.setdefault(name, Column())
            if len(columns) > COLUMNS:
                raise DataError(f"{description}: more than {COLUMNS} different keys")
            for name in names:
                columns[name].see([record.get(name) for record in records])
            if records:
                blocks.append(block)
                counts.append(len(records))
                lines.append(begins)
        starts = block_starts(counts)
        kinds = {name: column.kind(int(starts[-1])) for name, column in columns.items()}
        offsets = RowOffsets.of(blocks, lines, counts)
        return cls(description, path, blocks, starts, offsets, kinds)

    def columns(self) -> list[str]:
        """Return the column names, in the order in which the file first names them."""
        return list(self.kinds)

    def _read(
        self,
        block: int,
        columns: Sequence[str] | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> pd.DataFrame:
        content = read_block(self.path, self.blocks[block], self.description)
        lines = list(_lines(content, self.blocks[block]))
        if len(lines) != self.starts[block + 1] - self.starts[block]:
            raise changed(self.description)
        chosen = lines if rows is None else [lines[row] for row in rows]
        records = [
            json_object(line, f"{self.description}: line {number}") for number, line in chosen
        ]
        return self._frame(records, self.columns() if columns is None else columns)

    def _parsed(self, records: Sequence[bytes]) -> pd.DataFrame:
        return self._frame(
            [json_object(record, self.description) for record in records], self.columns()
        )

    def _frame(self, records: Sequence[dict[str, Any]], wanted: Sequence[str]) -> pd.DataFrame:
        try:
            filled = {
                name: series([record.get(name) for record in records], self.kinds[name])
                for name in wanted
            }
        except (ValueError, TypeError, OverflowError) as error:
            raise changed(self.description) from error
        return pd.DataFrame(filled, index=pd.RangeIndex(len(records)))

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Write the file with other labels, every other byte as it was.

        Each new label is written as the file writes that class elsewhere.
        """
        key = str(samples.label_column)
        if changes.values is not None:
            written = {place: _value(samples, new) for place, new in enumerate(changes.values)}
        else:
            written = {label: _as_written(samples, self, key, label) for label in changes.classes()}
        with self.path.open("rb") as original, target.open("wb") as copy:
            for number, block in enumerate(self.blocks):
                copy.write(original.read(block.offset - original.tell()))
                start, stop = int(self.starts[number]), int(self.starts[number + 1])
                new = {row: written[label] for row, label in changes.within(start, stop).items()}
                content = original.read(block.size)
                stay = changes.kept(start, stop)
                if new or stay is not None:
                    content = _changed(content, key, new, stay)
                copy.write(content)
            copy.write(original.read())


def _every_line_ends(line: bytes, continued: bool) -> bool:
    """Tell that a record never goes on after its line."""
    return False


def _lines(content: bytes, block: TextBlock) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their numbers."""
    for number, line in enumerate(content.split(b"\n"), start=block.first_line):
        if line.strip():
            yield number, line


def value_span(line: str, key: str) -> tuple[int, int]:
    """Return where the value of `key` begins and ends in a line that holds one JSON object.

    Of a key that is repeated the last counts, as everywhere in JSON.

    Raises
    ------
    KeyError
        The object has no such key.
    """
    found: tuple[int, int] | None = None
    position = _after_space(line, line.index("{") + 1)
    while line[position] != "}":
        name, position = _DECODER.raw_decode(line, position)
        start = _after_space(line, line.index(":", position) + 1)
        _, position = _DECODER.raw_decode(line, start)
        if name == key:
            found = (start, position)
        position = _after_space(line, position)
        if line[position] == ",":
            position = _after_space(line, position + 1)
    if found is None:
        raise KeyError(key)
    return found


def _as_written(samples: Samples, source: JsonLines, key: str, label: int) -> str:
    row = first_row_of(samples, label)
    if row is None:
        name = str(samples.classes[label])
        return json.dumps(name) if labels_are_text(samples) else name
    number = int(np.searchsorted(source.starts, row, side="right")) - 1
    content = read_block(source.path, source.blocks[number], source.description)
    lines = [line for line in content.split(b"\n") if line.strip()]
    line = lines[row - int(source.starts[number])].decode("utf-8")
    start, end = value_span(line, key)
    return line[start:end]


def _value(samples: Samples, new: Any) -> str:
    """Return a target, or labels in the form of the file: a list, or text."""
    if isinstance(new, float):
        return as_cell(samples, new)
    if isinstance(new, str) or labels_are_text(samples):
        return json.dumps(as_cell(samples, new), ensure_ascii=False)
    return json.dumps(as_listed(samples, new), ensure_ascii=False)


def _changed(
    content: bytes, key: str, new: Mapping[int, str], stay: NDArray[np.bool_] | None
) -> bytes:
    """Return a block with other labels, without the lines of rows that are left out."""
    lines = content.split(b"\n")
    # The loader passes over blank lines, so they are no rows here either.
    rows = [place for place, line in enumerate(lines) if line.strip()]
    for row, value in new.items():
        line = lines[rows[row]].decode("utf-8")
        start, end = value_span(line, key)
        lines[rows[row]] = (line[:start] + value + line[end:]).encode("utf-8")
    gone = set() if stay is None else {rows[row] for row in np.flatnonzero(~stay)}
    return b"\n".join(line for place, line in enumerate(lines) if place not in gone)


def _after_space(line: str, position: int) -> int:
    match = _SPACE.match(line, position)
    assert match is not None
    return match.end()


FORMAT = Format.of_files(JsonLines.open, ".jsonl")

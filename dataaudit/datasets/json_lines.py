"""JSONL files: one JSON object a line, UTF-8, read block by block.

The type of each column is settled by one pass over the whole file: whole numbers, numbers,
true/false, text; lists, objects and what is mixed with them stay Python objects. A column that
mixes text with numbers becomes text (each number as the file writes it in JSON). A key that is
missing is a missing value, as `null` is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.frames import TEXT, pick, rechunk
from dataaudit.datasets.text_lines import TextBlock, changed, read_block, text_blocks
from dataaudit.errors import DataError

Kind = Literal["whole", "number", "boolean", "text", "object"]

COLUMNS = 10_000
"""More keys than this are a file whose keys are values; a table of them would fill the memory."""

# Half of a character (a surrogate) can be written in JSON, but not in UTF-8.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class _Column:
    """What the values of a column have in common, so far."""

    def __init__(self) -> None:
        self.types: set[type] = set()
        self.rows = 0
        self.exact = True
        self.in_64_bits = True

    def see(self, values: list[Any]) -> None:
        """Take the values of another block into account; None is a missing value."""
        types = set(map(type, values))
        present = values if type(None) not in types else [v for v in values if v is not None]
        self.types |= types - {type(None)}
        self.rows += len(present)
        if int in types:
            whole = [value for value in present if type(value) is int]
            low, high = min(whole), max(whole)
            self.exact = self.exact and low >= -(2**53) and high <= 2**53
            self.in_64_bits = self.in_64_bits and low >= -(2**63) and high < 2**63

    def kind(self, rows: int) -> Kind:
        """Return what holds every value unchanged, given the number of rows of the file."""
        complete = self.rows == rows
        if self.types == {int}:
            if complete and self.in_64_bits:
                return "whole"
            return "number" if self.exact else "text"
        if self.types and self.types <= {int, float}:
            return "number" if self.in_64_bits else "text"
        if self.types == {bool} and complete:
            return "boolean"
        if str in self.types and self.types <= {str, int, float, bool}:
            return "text"
        return "object"


@dataclass(frozen=True)
class JsonLines:
    """The rows of a JSONL file.

    `take` parses the blocks (256 KiB) that hold the rows asked for, nothing else.
    """

    description: str
    path: Path
    kinds: dict[str, Kind]
    blocks: list[TextBlock]
    starts: NDArray[np.int64]
    """Position of the first row of each block, then the number of rows. `[blocks + 1]`"""

    @classmethod
    def open(cls, path: Path, description: str) -> JsonLines:
        """Read the file once to settle types and find the blocks.

        Raises
        ------
        DataError
            When the file is not UTF-8, or a line is not a JSON object.
        """
        columns: dict[str, _Column] = {}
        blocks: list[TextBlock] = []
        counts: list[int] = []
        for block, content in text_blocks(path, description, _every_line_ends):
            records = [
                _record(line, number, description) for number, line in _lines(content, block)
            ]
            names = dict.fromkeys(name for record in records for name in record)
            for name in names:
                columns.setdefault(name, _Column())
            if len(columns) > COLUMNS:
                raise DataError(f"{description}: more than {COLUMNS} different keys")
            for name in names:
                columns[name].see([record.get(name) for record in records])
            if records:
                blocks.append(block)
                counts.append(len(records))
        starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        kinds = {name: column.kind(int(starts[-1])) for name, column in columns.items()}
        return cls(description, path, kinds, blocks, starts)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.starts[-1])

    def columns(self) -> list[str]:
        """Return the column names, in the order in which the file first names them."""
        return list(self.kinds)

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, in frames of any length, with only `columns` where given."""
        for block in range(len(self.blocks)):
            yield self._read(block, columns)

    def frames(self, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, `rows_per_frame` at a time, index = positions."""
        return rechunk(self.stream(), rows_per_frame)

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        return pick(self.starts, positions, lambda block, rows: self._read(block, rows=rows))

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
        records = [_record(line, number, self.description) for number, line in chosen]
        wanted = self.columns() if columns is None else columns
        try:
            series = {
                name: _series([record.get(name) for record in records], self.kinds[name])
                for name in wanted
            }
        except (ValueError, TypeError, OverflowError) as error:
            raise changed(self.description) from error
        return pd.DataFrame(series, index=pd.RangeIndex(len(records)))


def _every_line_ends(line: bytes, continued: bool) -> bool:
    """Tell that a record never goes on after its line."""
    return False


def _lines(content: bytes, block: TextBlock) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their numbers."""
    for number, line in enumerate(content.split(b"\n"), start=block.first_line):
        if line.strip():
            yield number, line


def _record(line: bytes, number: int, description: str) -> dict[str, Any]:
    """Return the object that a line holds."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{description}: line {number}: not JSON: {error.msg} at column {error.colno}"
        ) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or thousands of brackets.
        raise DataError(f"{description}: line {number}: not usable JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(
            f"{description}: line {number}: expected a JSON object {{…}}, found"
            f" {_json_name(record)}"
        )
    if _SURROGATE.search(line):
        _refuse_half_characters(record, number, description)
    return record


def _refuse_half_characters(record: dict[str, Any], number: int, description: str) -> None:
    try:
        json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise DataError(
            f"{description}: line {number}: \\u{half:04x} is half of a character"
        ) from error


def _json_name(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _series(values: list[Any], kind: Kind) -> pd.Series:
    if kind == "whole":
        return pd.Series(values, dtype=np.int64)
    if kind == "number":
        return pd.Series(values, dtype=np.float64)
    if kind == "boolean":
        return pd.Series(values, dtype=bool)
    if kind == "text":
        return pd.Series([_as_text(value) for value in values], dtype=TEXT)
    return pd.Series(values, dtype=object)


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)

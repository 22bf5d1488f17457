"""CSV files (RFC 4180, UTF-8, one line of column names), read and rewritten block by block.

Fields may be separated by other marks than commas, and numbers have decimal commas; see
`separators`.

The type of each column is settled by one pass over the whole file, so that it never changes in
the middle: whole numbers, else numbers, else true/false, else text. What would not come back as
it was written stays text: `012`, `+5`, numbers beyond 64 bits, long numbers beside missing values.
In a column of numbers the words of `MISSING` are missing values (NaN); in a column of text they
are text, the empty string included.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from dataaudit.datasets.changes import Changes, as_cell, first_row_of
from dataaudit.datasets.files import readable
from dataaudit.datasets.frames import block_starts, plain_frame, refuse_repeated
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.separators import Dialect, separator_of
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

MISSING = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "null", "NULL", "None", "<NA>"]
"""What stands for a missing number."""

_TRUE = ["true", "True", "TRUE"]
_FALSE = ["false", "False", "FALSE"]
# `-0` and `007` are not whole numbers here: they would not come back as they were written.
_WHOLE = r"^[ \t]*(0|-?[1-9][0-9]{0,18})[ \t]*$"
# Longer ones are not exact as float64, which a missing value or a fraction would turn them into.
_LONG_WHOLE = r"^[ \t]*-?[1-9][0-9]{15,}[ \t]*$"
_NUMBER = (
    r"^[ \t]*-?(((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?"
    r"|[iI][nN][fF]([iI][nN][iI][tT][yY])?)[ \t]*$"
)
_NUMBER_WITH = {".": _NUMBER, ",": _NUMBER.replace(r"\.", ",")}
"""By what stands before a fraction."""
_COPY_BYTES = 1024 * 1024


@dataclass
class _Column:
    """What the values of a column have in common, so far."""

    numbers: set[str]
    """What may stand before the fractions, as long as all values are such numbers."""
    present: bool = False
    missing: bool = False
    whole: bool = True
    fraction: bool = False
    boolean: bool = True
    long_whole: bool = False

    def see(self, values: pa.ChunkedArray) -> None:
        """Take another block of raw text into account."""
        if not (self.numbers or self.boolean):
            return
        is_missing = pc.is_in(values, pa.array(MISSING))
        self.missing = self.missing or _any(is_missing)
        values = values.filter(pc.invert(is_missing))
        if len(values) == 0:
            return
        self.present = True
        if self.boolean:
            self.boolean = _all(pc.is_in(values, pa.array(_TRUE + _FALSE)))
        self.numbers = {
            decimal
            for decimal in self.numbers
            if _all(pc.match_substring_regex(values, _NUMBER_WITH[decimal]))
        }
        if self.numbers:
            whole = pc.match_substring_regex(values, _WHOLE)
            long = values.filter(pc.match_substring_regex(values, _LONG_WHOLE))
            self.whole = self.whole and _all(whole) and all(map(_fits, long.to_pylist()))
            self.fraction = self.fraction or _any(pc.match_substring_regex(values, r"[.,eE]"))
            self.long_whole = self.long_whole or len(long) > 0

    def type(self, decimal: str) -> pa.DataType:
        """Return the Arrow type that holds every value as it was written."""
        if not self.present:
            return pa.float64()
        if decimal in self.numbers:
            if self.whole and not self.missing:
                return pa.int64()
            return pa.string() if self.long_whole and not self.fraction else pa.float64()
        return pa.bool_() if self.boolean and not self.missing else pa.string()


def _all(flags: pa.ChunkedArray) -> bool:
    return bool(pc.all(flags).as_py())


def _any(flags: pa.ChunkedArray) -> bool:
    return bool(pc.any(flags).as_py())


def _decimal(columns: Iterable[_Column]) -> str:
    """Return what stands before fractions: a comma where that makes numbers of a column."""
    return "," if any(column.numbers == {","} for column in columns) else "."


def _fits(whole: str) -> bool:
    return -(2**63) <= int(whole) < 2**63


@dataclass(frozen=True)
class CommaSeparated(TextRows):
    """The rows of a CSV file."""

    types: dict[str, pa.DataType]
    dialect: Dialect

    @classmethod
    def open(cls, path: Path, description: str) -> CommaSeparated:
        """Read the file once to settle types and find the blocks.

        Raises
        ------
        DataError
            When the file is empty, not UTF-8, or has a line with too few or too many fields.
        """
        dialect = Dialect(separator_of(path, description))
        possible = "." if dialect.separator == "," else ".,"
        names: list[str] | None = None
        columns: dict[str, _Column] = {}
        blocks: list[TextBlock] = []
        counts: list[int] = []
        lines: list[NDArray[np.int64]] = []
        for block, content, begins in text_blocks(path, description, dialect.record_continues):
            if names is None:
                names, used, header = _header(content, dialect, description)
                columns = {name: _Column(set(possible)) for name in names}
                content = content[used:]
                block = TextBlock(block.offset + used, len(content), block.first_line + header)
                begins = begins[begins >= used] - used
            text = dict.fromkeys(names, pa.string())
            table = _parse(content, text, names, block, dialect, description)
            if table.num_rows == 0:
                continue
            for name, column in columns.items():
                column.see(table[name])
            blocks.append(block)
            counts.append(table.num_rows)
            lines.append(begins)
        if names is None:
            raise DataError(f"{description}: the file is empty")
        dialect = replace(dialect, decimal=_decimal(columns.values()))
        types = {name: column.type(dialect.decimal) for name, column in columns.items()}
        offsets = RowOffsets.of(blocks, lines, counts)
        return cls(description, path, blocks, block_starts(counts), offsets, types, dialect)

    def columns(self) -> list[str]:
        """Return the column names, in the order of the file."""
        return list(self.types)

    def _parsed(self, records: Sequence[bytes]) -> pd.DataFrame:
        content = b"".join(records)
        block = TextBlock(0, len(content), 1)
        table = _parse(content, self.types, self.columns(), block, self.dialect, self.description)
        with readable(self.description, "a CSV file"):
            return plain_frame(table, with_missing=())

    def _read(
        self,
        block: int,
        columns: Sequence[str] | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> pd.DataFrame:
        content = read_block(self.path, self.blocks[block], self.description)
        wanted = self.columns() if columns is None else columns
        table = _parse(
            content, self.types, wanted, self.blocks[block], self.dialect, self.description
        )
        if table.num_rows != self.starts[block + 1] - self.starts[block]:
            raise changed(self.description)
        with readable(self.description, "a CSV file"):
            frame = plain_frame(table, with_missing=())
        return frame if rows is None else frame.iloc[rows]

    def as_text(self, column: str) -> CommaSeparated:
        """Return the same rows with a column as it is written."""
        return replace(self, types={**self.types, column: pa.string()})

    def note(self) -> str | None:
        """Return what was taken for the separator, and for numbers, where it is not the usual."""
        if self.dialect == Dialect():
            return None
        mark = {"\t": "tabs", ";": "semicolons", "|": "upright bars"}[self.dialect.separator]
        commas = ", its numbers have decimal commas" if self.dialect.decimal == "," else ""
        return f"the fields are separated by {mark}{commas}"

    def _cell(self, samples: Samples, new: Any) -> bytes:
        cell = as_cell(samples, new)
        if isinstance(new, float):
            cell = cell.replace(".", self.dialect.decimal)
        return self.dialect.cell(cell)

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Write the file with other labels, every other byte as it was.

        Each new label is written as the file writes that class elsewhere.
        """
        names = self.columns()
        column = names.index(str(samples.label_column)) if len(changes) else 0
        if changes.values is not None:
            cells = [self._cell(samples, new) for new in changes.values]
            written = dict(enumerate(cells))
        else:
            written = {
                label: _as_written(samples, self, column, label) for label in changes.classes()
            }
        with self.path.open("rb") as original, target.open("wb") as copy:
            for number, block in enumerate(self.blocks):
                _copy_until(original, copy, block.offset)
                start, stop = int(self.starts[number]), int(self.starts[number + 1])
                new = {row: written[label] for row, label in changes.within(start, stop).items()}
                content = original.read(block.size)
                stay = changes.kept(start, stop)
                if new or stay is not None:
                    content = _changed(content, column, new, stay, self.dialect)
                copy.write(content)
            _copy_until(original, copy, None)


def _header(content: bytes, dialect: Dialect, description: str) -> tuple[list[str], int, int]:
    """Return the column names, and how many bytes and lines they take."""
    used = lines = 0
    quoted = False
    text = io.BytesIO(content)
    while line := text.readline():
        used += len(line)
        lines += 1
        quoted = dialect.record_continues(line, quoted)
        if not quoted and content[:used].strip():
            break
    if not content[:used].strip():
        raise DataError(f"{description}: the file is empty")
    # A carriage return of its own ends a record, too, and no line.
    end = _record_end(content[:used], dialect)
    if end < used:
        used, lines = end, lines - 1
    record = content[:used].decode("utf-8").strip("\r\n")
    with readable(description, "a CSV file"):
        try:
            names = next(csv.reader(io.StringIO(record, newline=""), delimiter=dialect.separator))
        except csv.Error as error:
            raise DataError(f"{description}: line 1: no column names: {error}") from error
    if names[0].lower().startswith("sep="):
        raise DataError(
            f"{description}: line 1: {record!r} is a word to Excel, which no other program reads; "
            "expected the names of the columns"
        )
    refuse_repeated(names, description)
    return names, used, lines


def _record_end(content: bytes, dialect: Dialect) -> int:
    """Return where the first record that is not empty ends."""
    position = len(content) - len(content.lstrip(b"\r\n"))
    while True:
        match = dialect.field.match(content, position)
        assert match is not None
        position = match.end()
        if match[2] != dialect.separator.encode():
            return position


def _parse(
    content: bytes,
    types: dict[str, pa.DataType],
    wanted: Sequence[str],
    block: TextBlock,
    dialect: Dialect,
    description: str,
) -> pa.Table:
    """Parse whole records without the line of names.

    Raises
    ------
    DataError
        Naming the line, when a record has too few or too many fields.
    """
    wrong: list[pyarrow.csv.InvalidRow] = []

    def remember(row: pyarrow.csv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    if not content.strip(b"\r\n"):
        return pa.table({name: pa.array([], types[name]) for name in wanted})
    with readable(description, "a CSV file"):
        try:
            return pyarrow.csv.read_csv(
                pa.BufferReader(content),
                read_options=pyarrow.csv.ReadOptions(
                    # Without threads, rows are numbered; in one piece, no record is cut.
                    use_threads=False,
                    block_size=len(content) + 1,
                    column_names=list(types),
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=dialect.separator,
                    newlines_in_values=True,
                    invalid_row_handler=remember,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=types,
                    include_columns=list(wanted),
                    null_values=MISSING,
                    true_values=_TRUE,
                    false_values=_FALSE,
                    decimal_point=dialect.decimal,
                ),
            )
        except pa.ArrowInvalid as error:
            if not wrong:
                raise
            line = _line_of_record(content, wrong[0].number, block.first_line, dialect)
            raise DataError(
                f"{description}: line {line}: expected {wrong[0].expected_columns} fields,"
                f" found {wrong[0].actual_columns}"
            ) from error


def _line_of_record(content: bytes, record: int, first_line: int, dialect: Dialect) -> int:
    """Return the number of the line in which the `record`-th record (from 1) begins."""
    quoted = False
    records = 0
    for number, line in enumerate(io.BytesIO(content), start=first_line):
        if not quoted and line.strip(b"\r\n"):
            records += 1
            if records == record:
                return number
        quoted = dialect.record_continues(line, quoted)
    return first_line


def _as_written(samples: Samples, source: CommaSeparated, column: int, label: int) -> bytes:
    row = first_row_of(samples, label)
    if row is None:
        return source.dialect.cell(samples.classes[label])
    number = int(np.searchsorted(source.starts, row, side="right")) - 1
    content = read_block(source.path, source.blocks[number], source.description)
    spans = _spans(content, column, source.dialect)
    start, end = next(span for place, span, _ in spans if place == row - source.starts[number])
    return content[start:end]


def _changed(
    content: bytes,
    column: int,
    new: Mapping[int, bytes],
    stay: NDArray[np.bool_] | None,
    dialect: Dialect,
) -> bytes:
    """Return a block with other labels, without the records of rows that are left out."""
    parts = []
    done = 0
    for row, (start, end), (first, last) in _spans(content, column, dialect):
        if stay is not None and not stay[row]:
            parts.append(content[done:first])
            done = last
        elif row in new:
            parts += [content[done:start], new[row]]
            done = end
    return b"".join([*parts, content[done:]])


def _spans(
    content: bytes, column: int, dialect: Dialect
) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
    """Yield each row's number in the block, where its field `column` and its record lie."""
    row = field = position = first = 0
    span = (0, 0)
    while position < len(content):
        match = dialect.field.match(content, position)
        assert match is not None
        if field == column:
            span = match.span(1)
        if field == 0:
            first = position
        position = match.end()
        if match[2] == dialect.separator.encode():
            field += 1
            continue
        # The loader passes over empty lines, so they are no rows here either.
        if field or match[1]:
            yield row, span, (first, position)
            row += 1
        field = 0


def _copy_until(original: BinaryIO, copy: BinaryIO, end: int | None) -> None:
    while end is None or original.tell() < end:
        left = _COPY_BYTES if end is None else min(_COPY_BYTES, end - original.tell())
        content = original.read(left)
        if not content:
            return
        copy.write(content)


FORMAT = Format.of_files(CommaSeparated.open, ".csv", ".tsv")

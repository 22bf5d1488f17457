"""Arrow IPC files (Feather 2) and streams, one or several that continue each other."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from dataaudit.datasets.arrow_column import (
    decoded_bytes,
    dictionary_columns,
    is_text,
    new_values,
    stored_categories,
    with_labels,
)
from dataaudit.datasets.arrow_packed import FILE_MAGIC, unpacked_bytes
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.files import (
    most_bytes,
    readable,
    refuse_rows_without_end,
    too_many_bytes,
)
from dataaudit.datasets.frames import (
    block_starts,
    by_block,
    column_names,
    distinct,
    in_order,
    may_change_type,
    plain_frame,
)
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource, Format
from dataaudit.errors import DataError

_ROWS_PER_FRAME = 1024


@dataclass(frozen=True)
class ArrowFiles(ColumnSource):
    """The rows of Arrow files and streams, mapped into memory, converted as they are asked for.

    `take` opens each file once and reads the rows asked for.
    """

    description: str
    paths: list[Path]
    schema: pa.Schema
    names: list[str]
    with_missing: frozenset[str]
    batches: list[tuple[int, int]]
    """For each record batch: which file, and the number of the batch in it."""
    starts: NDArray[np.int64]
    """Position of the first row of each record batch, then the number of rows."""
    checked: set[int] = field(default_factory=set, compare=False, repr=False)
    """The record batches whose buffers have been checked."""

    @classmethod
    def open(cls, paths: Sequence[Path], description: str) -> ArrowFiles:
        """Read the record batches' headers.

        Raises
        ------
        DataError
            When a file is neither an Arrow file nor a stream, is cut short, names a column
            twice, or has other columns than the first.
        """
        schema: pa.Schema | None = None
        batches: list[tuple[int, int]] = []
        counts: list[int] = []
        with_missing: set[str] = set()
        decoded = 0
        with readable(description, "an Arrow file or stream"):
            for number, path in enumerate(paths):
                if sum(unpacked_bytes(path)) > most_bytes([path]):
                    raise too_many_bytes(description)
                with opened(path) as reader:
                    if schema is None:
                        schema = reader.schema
                        names = column_names(schema, description)
                    elif not reader.schema.equals(schema):
                        raise DataError(
                            f"{description}: {path.name} has other columns or types than"
                            f" {paths[0].name}"
                        )
                    changing = [name for name in names if may_change_type(schema.field(name))]
                    for index, batch in record_batches(reader, None):
                        batches.append((number, index))
                        counts.append(batch.num_rows)
                        # Nulls take no room: so many of them can be announced by a few bytes.
                        refuse_rows_without_end(sum(counts), paths, description)
                        # A value in a dictionary, or for a run of rows, is said once.
                        packed = [name for name in names if not is_text(schema.field(name).type)]
                        for column in batch.select(packed).columns:
                            # Without the full check a damaged file would be read past its end.
                            column.validate(full=True)
                            decoded += decoded_bytes(column)
                        if decoded > most_bytes(paths):
                            raise too_many_bytes(description)
                        with_missing.update(
                            name for name in changing if batch.column(name).null_count
                        )
        if schema is None:
            raise DataError(f"{description}: there are no rows")
        starts = block_starts(counts)
        return cls(
            description, list(paths), schema, names, frozenset(with_missing), batches, starts
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.starts[-1])

    def columns(self) -> list[str]:
        """Return the column names, in the order of the file."""
        return list(self.names)

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, in frames of any length, with only `columns` where given."""
        wanted = self.names if columns is None else list(columns)
        with readable(self.description, "an Arrow file or stream"):
            for table in self._tables(wanted):
                for start in range(0, table.num_rows, _ROWS_PER_FRAME):
                    # Of a table without columns, Arrow slices as many rows as it is told.
                    rows = min(_ROWS_PER_FRAME, table.num_rows - start)
                    part = table.slice(start, rows)
                    yield plain_frame(part, self.with_missing)

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        wanted, place = distinct(positions, len(self))
        parts = list(by_block(self.starts, wanted))
        tables: list[pa.Table] = []
        with readable(self.description, "an Arrow file or stream"):
            for number, blocks in itertools.groupby(
                parts, key=lambda part: self.batches[part[0]][0]
            ):
                tables += self._rows(number, dict(blocks))
            if len(tables) != len(parts):
                raise DataError(f"{self.description}: the file changed while it was being read")
            frame = plain_frame(pa.concat_tables(tables), self.with_missing)
        return in_order(frame, wanted, place)

    def _rows(self, number: int, rows: Mapping[int, NDArray[np.int64]]) -> Iterator[pa.Table]:
        """Yield the rows of some record batches of one file."""
        block_of = {self.batches[block][1]: block for block in rows}
        with opened(self.paths[number]) as reader:
            for index, batch in record_batches(reader, set(block_of)):
                table = pa.Table.from_batches([batch]).select(self.names)
                block = block_of[index]
                if block not in self.checked:
                    table.validate(full=True)
                    self.checked.add(block)
                yield table.take(pa.array(rows[block]))

    def files(self) -> list[Path]:
        """Return the files."""
        return self.paths

    def categories(self) -> dict[str, list[Any]]:
        """Return the values that columns of categories may have, in the order they are stored."""
        names = dictionary_columns(self.schema, self.names)
        with readable(self.description, "an Arrow file or stream"):
            return stored_categories(self._tables(names), names) if names else {}

    def _tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        for path in self.paths:
            with opened(path) as reader:
                for _, batch in record_batches(reader, None):
                    yield pa.Table.from_batches([batch]).select(columns)

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Write the file with other labels, one record batch in memory at a time.

        Schema, metadata and record batches stay as they were.
        """
        self.rewrite_files(samples, changes, [target])

    def rewrite_files(self, samples: Samples, changes: Changes, targets: Sequence[Path]) -> None:
        """Write each of the files with other labels to the target of its own."""
        column = str(samples.label_column)
        place = self.schema.get_field_index(column)
        values = None
        if len(changes):
            field = self.schema.field(place)
            values = new_values(samples, changes, field.type, self.stored_classes(column))
        start = 0
        for path, target in zip(self.paths, targets, strict=True):
            with readable(self.description, "an Arrow file or stream"), opened(path) as reader:
                is_file = isinstance(reader, pyarrow.ipc.RecordBatchFileReader)
                new_writer = pyarrow.ipc.new_file if is_file else pyarrow.ipc.new_stream
                with (
                    pa.OSFile(str(target), "wb") as sink,
                    new_writer(sink, reader.schema) as writer,
                ):
                    for _, batch in record_batches(reader, None):
                        stop = start + batch.num_rows
                        new = changes.within(start, stop)
                        if values:
                            labels = with_labels(batch.column(place), new, values)
                            batch = batch.set_column(place, field, labels)
                        stay = changes.kept(start, stop)
                        writer.write_batch(batch if stay is None else batch.filter(pa.array(stay)))
                        start = stop


@contextmanager
def opened(
    path: Path,
) -> Iterator[pyarrow.ipc.RecordBatchFileReader | pyarrow.ipc.RecordBatchStreamReader]:
    """Open an Arrow file or stream, mapped into memory, whichever of the two it is."""
    with path.open("rb") as file:
        is_file = file.read(len(FILE_MAGIC)) == FILE_MAGIC
    open_reader = pyarrow.ipc.open_file if is_file else pyarrow.ipc.open_stream
    # Mapped, so that batches that are passed over are not read.
    with pa.memory_map(str(path)) as mapped, open_reader(mapped) as reader:
        yield reader


def record_batches(
    reader: pyarrow.ipc.RecordBatchFileReader | pyarrow.ipc.RecordBatchStreamReader,
    wanted: Collection[int] | None,
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the (wanted) record batches with their numbers."""
    if isinstance(reader, pyarrow.ipc.RecordBatchFileReader):
        for index in range(reader.num_record_batches) if wanted is None else sorted(wanted):
            yield index, reader.get_batch(index)
        return
    for index, batch in enumerate(reader):
        if wanted is None or index in wanted:
            yield index, batch
            if wanted is not None and index == max(wanted):
                return


FORMAT = Format.of_files(
    lambda path, description: ArrowFiles.open([path], description), ".arrow", ".feather"
)

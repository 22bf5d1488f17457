"""Parquet files, read and rewritten row group by row group."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from dataaudit.datasets.arrow_column import new_values, with_labels
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.files import readable, refuse_rows_without_end
from dataaudit.datasets.frames import (
    block_starts,
    column_names,
    distinct,
    in_order,
    may_change_type,
    pick,
    plain_frame,
    plain_table,
)
from dataaudit.datasets.mapped_rows import SHARE_OF_FREE_DISK, MappedRows, NoRoomError
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource, Format

_LOGGER = logging.getLogger("dataaudit")
_ROWS_PER_READ = 1024
# Read pages as they are needed; otherwise a whole column of a row group is held.
_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Parquet(ColumnSource):
    """The rows of a Parquet file.

    `take` decodes the row groups that hold the rows asked for, a thousand rows at a time; after
    `quick_to_take` it reads the rows from a file of its own.
    """

    description: str
    path: Path
    names: list[str]
    with_missing: frozenset[str]
    starts: NDArray[np.int64]
    """Position of the first row of each row group, then the number of rows. `[groups + 1]`"""
    mapped: MappedRows | None = None

    @classmethod
    def open(cls, path: Path, description: str) -> Parquet:
        """Read the file's footer, and the columns whose type a missing value would change.

        Raises
        ------
        DataError
            When it is not a Parquet file, is cut short, or names a column twice.
        """
        with readable(description, "a Parquet file"), _file(path) as file:
            names = column_names(file.schema_arrow, description)
            groups = range(file.metadata.num_row_groups)
            counts = [file.metadata.row_group(group).num_rows for group in groups]
            fields = [file.schema_arrow.field(name) for name in names]
            changing = [field.name for field in fields if may_change_type(field) and field.nullable]
            refuse_rows_without_end(sum(counts), [path], description)
            with_missing = _with_missing(file, changing)
        starts = block_starts(counts)
        return cls(description, path, names, with_missing, starts)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.starts[-1])

    def columns(self) -> list[str]:
        """Return the column names, in the order of the file."""
        return list(self.names)

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, in frames of any length, with only `columns` where given."""
        for table in self._tables(columns):
            yield plain_frame(table, self.with_missing)

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        if self.mapped is None:
            return pick(self.starts, positions, self._rows)
        wanted, place = distinct(positions, len(self))
        frame = plain_frame(self.mapped.take(wanted), self.with_missing)
        return in_order(frame, wanted, place)

    def quick_to_take(self, folder: Path) -> Parquet:
        """Return the same rows, written to an Arrow file in `folder` where there is room.

        Where there is none, the row groups are decoded at each `take`, and a warning is logged.
        """
        if self.mapped is not None:
            return self
        tables = (plain_table(table, self.with_missing) for table in self._tables(None))
        try:
            return replace(self, mapped=MappedRows.write(tables, folder))
        except (NoRoomError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            _LOGGER.warning(
                "%s: its rows could not be written to %s, where they are quick to read at random "
                "(%s); the audit goes on, and takes longer",
                self.description,
                folder,
                reason or f"they take more than {SHARE_OF_FREE_DISK:.0%} of the free disk",
            )
            return self

    def _rows(self, group: int, rows: NDArray[np.int64]) -> pd.DataFrame:
        parts = []
        first = 0
        with readable(self.description, "a Parquet file"), _file(self.path) as file:
            for table in self._group(file, group, None):
                low, high = np.searchsorted(rows, [first, first + len(table)])
                # The first table gives the columns even where no row is wanted.
                if high > low or first == 0:
                    # Without the full check a damaged file would be read past its buffers' end.
                    table.validate(full=True)
                    parts.append(table.take(pa.array(rows[low:high] - first)))
                first += len(table)
            return plain_frame(pa.concat_tables(parts), self.with_missing)

    def _tables(self, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        with readable(self.description, "a Parquet file"), _file(self.path) as file:
            for group in range(len(self.starts) - 1):
                yield from self._group(file, group, columns)

    def _group(
        self, file: pyarrow.parquet.ParquetFile, group: int, columns: Sequence[str] | None
    ) -> Iterator[pa.Table]:
        wanted = self.names if columns is None else list(columns)
        rows = 0
        for batch in file.iter_batches(_ROWS_PER_READ, row_groups=[group], columns=wanted):
            rows += batch.num_rows
            # A nested column is asked for by all that it contains; keep the order asked for.
            yield pa.Table.from_batches([batch]).select(wanted)
        expected = self.starts[group + 1] - self.starts[group]
        if rows != expected:
            raise ValueError(f"row group {group} holds {rows} rows, {expected} were announced")

    def files(self) -> list[Path]:
        """Return the file."""
        return [self.path]

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Write the file with other labels, one row group in memory at a time.

        Schema, metadata, row groups and compression stay as they were.
        """
        with readable(self.description, "a Parquet file"), _file(self.path) as file:
            schema = file.schema_arrow
            place = schema.get_field_index(str(samples.label_column))
            values = None
            if len(changes):
                field = schema.field(place)
                values = new_values(samples, changes, field.type, None)
            group = file.metadata.row_group(0)
            columns = [group.column(number) for number in range(group.num_columns)]
            codecs = {column.path_in_schema: _codec(column.compression) for column in columns}
            arrow_schema = b"ARROW:schema" in (file.metadata.metadata or {})
            with pyarrow.parquet.ParquetWriter(
                target, schema, compression=codecs, store_schema=arrow_schema
            ) as writer:
                for number in range(file.num_row_groups):
                    table = file.read_row_group(number)
                    start = int(self.starts[number])
                    new = changes.within(start, start + len(table))
                    stay = changes.kept(start, start + len(table))
                    if values:
                        column = _in_one_piece(table.column(place))
                        table = table.set_column(place, field, with_labels(column, new, values))
                    if stay is not None:
                        table = table.filter(pa.array(stay))
                    writer.write_table(table, row_group_size=max(1, len(table)))


def _file(path: Path) -> pyarrow.parquet.ParquetFile:
    return pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _with_missing(file: pyarrow.parquet.ParquetFile, columns: Sequence[str]) -> frozenset[str]:
    """Return those of `columns` in which a value is missing, by reading them.

    The footer often counts missing values, but Arrow ends the whole process (std::terminate) when
    it is asked for the columns of a damaged footer; a damaged column is an exception like others.
    """
    found: set[str] = set()
    if columns:
        for batch in file.iter_batches(_ROWS_PER_READ, columns=list(columns)):
            found.update(name for name in columns if batch.column(name).null_count)
    return frozenset(found)


def _codec(name: str) -> str:
    return "NONE" if name == "UNCOMPRESSED" else name


def _in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.unify_dictionaries().combine_chunks()


FORMAT = Format.of_files(Parquet.open, ".parquet")

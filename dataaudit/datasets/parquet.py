"""Parquet files, and folders of their parts, read and rewritten row group by row group."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from dataaudit.datasets.arrow_column import (
    decoded_bytes,
    dictionary_columns,
    new_values,
    stored_categories,
    with_labels,
)
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.files import (
    SMALL_BYTES,
    most_bytes,
    readable,
    refuse_rows_without_end,
    too_many_bytes,
)
from dataaudit.datasets.frames import (
    block_starts,
    column_names,
    distinct,
    in_order,
    may_change_type,
    pick,
    plain_frame,
    plain_table,
    rechunk,
)
from dataaudit.datasets.mapped_rows import SHARE_OF_FREE_DISK, MappedRows, NoRoomError
from dataaudit.datasets.parquet_pages import page_bytes
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.shard_paths import shard_paths
from dataaudit.datasets.sources import ColumnSource, Format
from dataaudit.errors import DataError

_LOGGER = logging.getLogger("dataaudit")
ENDING = ".parquet"
_ROWS_PER_READ = 1024
# As Hugging Face and others name the parts of a data set.
NUMBERED = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.parquet")
# Read pages as they are needed; otherwise a whole column of a row group is held.
_BUFFER_BYTES = 1024 * 1024
_BYTES_AT_ONCE = 256 * 1024 * 1024
"""At most so many are decoded where a few bytes may stand for a long value."""


@dataclass(frozen=True)
class Parquet(ColumnSource):
    """The rows of a Parquet file, or of several that continue each other.

    `take` decodes the row groups that hold the rows asked for, a thousand rows at a time; after
    `quick_to_take` it reads the rows from a file of its own.
    """

    description: str
    paths: list[Path]
    names: list[str]
    with_missing: frozenset[str]
    groups: list[tuple[int, int]]
    """For each row group: which file, and the number of the group in it."""
    starts: NDArray[np.int64]
    """Position of the first row of each row group, then the number of rows. `[groups + 1]`"""
    mapped: MappedRows | None = None

    @classmethod
    def open(cls, paths: Sequence[Path], description: str) -> Parquet:
        """Read the files' footers, and the columns whose type a missing value would change.

        Raises
        ------
        DataError
            When one is not a Parquet file, is cut short, names a column twice, or has other columns
            than the first.
        """
        schema: pa.Schema | None = None
        groups: list[tuple[int, int]] = []
        counts: list[int] = []
        with_missing: set[str] = set()
        for number, path in enumerate(paths):
            with readable(description, "a Parquet file"), _file(path) as file:
                if schema is None:
                    schema = file.schema_arrow
                    names = column_names(schema, description)
                elif not file.schema_arrow.equals(schema):
                    raise DataError(
                        f"{description}: {path.name} has other columns or types than "
                        f"{paths[0].name}"
                    )
                for group in range(file.metadata.num_row_groups):
                    groups.append((number, group))
                    counts.append(file.metadata.row_group(group).num_rows)
                refuse_rows_without_end(sum(counts), paths, description)
                if sum(page_bytes(path, file.metadata)) > most_bytes([path]):
                    raise too_many_bytes(description)
                if path.stat().st_size < SMALL_BYTES:
                    _refuse_repeated_values(path, description)
                fields = [schema.field(name) for name in names]
                changing = [each.name for each in fields if may_change_type(each) and each.nullable]
                with_missing |= _with_missing(file, changing)
        starts = block_starts(counts)
        return cls(description, list(paths), names, frozenset(with_missing), groups, starts)

    @classmethod
    def open_folder(cls, folder: Path, description: str) -> Parquet:
        """Read the parts of one data set in a folder, or those that a pattern names, in order.

        Raises
        ------
        DataError
            When the names tell that parts are missing, or that they are of several data sets; and
            as `open`.
        """
        paths = shard_paths(folder, ENDING) or []
        _refuse_other_parts([path.name for path in paths], description)
        return cls.open(paths, description)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.starts[-1])

    def columns(self) -> list[str]:
        """Return the column names, in the order of the file."""
        return list(self.names)

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, in frames of any length, with only `columns` where given."""
        for table in self._tables(columns):
            yield self._plain(table)

    def frames_from(self, start: int, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield the rows from `start` on, `rows_per_frame` at a time, index = positions."""
        if self.mapped is not None:
            yield from super().frames_from(start, rows_per_frame)
            return
        # A row group is decoded from its beginning.
        group = int(np.searchsorted(self.starts, start, side="right")) - 1
        before, first = start - int(self.starts[group]), start
        tables = _gathered(_all_but(self._tables(None, group), before), rows_per_frame)
        frames = map(self._plain, tables)
        for frame in rechunk(frames, rows_per_frame):
            frame.index = pd.RangeIndex(first, first + len(frame))
            first += len(frame)
            yield frame

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        if self.mapped is None:
            return pick(self.starts, positions, self._rows)
        wanted, place = distinct(positions, len(self))
        frame = self._plain(self.mapped.take(wanted))
        return in_order(frame, wanted, place)

    def quick_to_take(self, folder: Path) -> Parquet:
        """Return the same rows, written to an Arrow file in `folder` where there is room.

        Where there is none, the row groups are decoded at each `take`, and a warning is logged.
        """
        if self.mapped is not None:
            return self

        def checked(table: pa.Table) -> pa.Table:
            with readable(self.description, "a Parquet file"):
                return plain_table(table, self.with_missing)

        try:
            tables = map(checked, self._tables(None))
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
        number, own = self.groups[group]
        with readable(self.description, "a Parquet file"), _file(self.paths[number]) as file:
            for table in self._group(file, own, group, None):
                low, high = np.searchsorted(rows, [first, first + len(table)])
                # The first table gives the columns even where no row is wanted.
                if high > low or first == 0:
                    # Without the full check a damaged file would be read past its buffers' end.
                    table.validate(full=True)
                    parts.append(table.take(pa.array(rows[low:high] - first)))
                first += len(table)
            return plain_frame(pa.concat_tables(parts), self.with_missing)

    def _plain(self, table: pa.Table) -> pd.DataFrame:
        # Damage to what a column holds shows only here, where all of it is looked at.
        with readable(self.description, "a Parquet file"):
            return plain_frame(table, self.with_missing)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the file of mapped rows, which has no name for another process to open."""
        return self.__dict__ | {"mapped": None}

    def _tables(self, columns: Sequence[str] | None, first: int = 0) -> Iterator[pa.Table]:
        """Yield the rows from a row group on, in tables of any length."""
        groups = itertools.islice(enumerate(self.groups), first, None)
        of_file = itertools.groupby(groups, key=lambda each: each[1][0])
        for number, inside in of_file:
            with readable(self.description, "a Parquet file"), _file(self.paths[number]) as file:
                for group, (_, own) in inside:
                    yield from self._group(file, own, group, columns)

    def _group(
        self, file: pyarrow.parquet.ParquetFile, own: int, group: int, columns: Sequence[str] | None
    ) -> Iterator[pa.Table]:
        wanted = self.names if columns is None else list(columns)
        rows = 0
        for batch in file.iter_batches(_ROWS_PER_READ, row_groups=[own], columns=wanted):
            rows += batch.num_rows
            # A nested column is asked for by all that it contains; keep the order asked for.
            yield pa.Table.from_batches([batch]).select(wanted)
        expected = self.starts[group + 1] - self.starts[group]
        if rows != expected:
            raise ValueError(f"row group {group} holds {rows} rows, {expected} were announced")

    def files(self) -> list[Path]:
        """Return the files."""
        return self.paths

    def categories(self) -> dict[str, list[Any]]:
        """Return the values that columns of categories may have, in the order they are stored."""
        with readable(self.description, "a Parquet file"), _file(self.paths[0]) as file:
            names = dictionary_columns(file.schema_arrow, self.names)
        return stored_categories(self._tables(names), names) if names else {}

    def patterns(self) -> list[str]:
        """Return the names of the parts in the folder."""
        return [path.name for path in self.paths]

    def why_not_rewritten(self) -> str | None:
        """Return why corrections cannot be written, or None where they can."""
        if Path(self.description).exists():
            return None
        return "corrections are written into a file or a folder, not into what a pattern names"

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Write the file, or a folder of its parts, with other labels; one row group in memory.

        Schema, metadata, row groups and compression stay as they were.
        """
        if Path(self.description).is_dir():
            target.mkdir()
            targets = [target / path.name for path in self.paths]
        else:
            targets = [target]
        group = 0
        for path, new_path in zip(self.paths, targets, strict=True):
            with readable(self.description, "a Parquet file"), _file(path) as file:
                first = int(self.starts[group])
                _rewrite(file, samples, changes, first, new_path)
                group += file.num_row_groups


def _rewrite(
    file: pyarrow.parquet.ParquetFile, samples: Samples, changes: Changes, start: int, target: Path
) -> None:
    """Write one file, whose first row is row `start`, with other labels."""
    schema = file.schema_arrow
    place = schema.get_field_index(str(samples.label_column))
    values = None
    if len(changes):
        field = schema.field(place)
        values = new_values(samples, changes, field.type, None)
    codecs = {}
    if file.num_row_groups:
        group = file.metadata.row_group(0)
        columns = [group.column(number) for number in range(group.num_columns)]
        codecs = {column.path_in_schema: _codec(column.compression) for column in columns}
    arrow_schema = b"ARROW:schema" in (file.metadata.metadata or {})
    with pyarrow.parquet.ParquetWriter(
        target, schema, compression=codecs or "NONE", store_schema=arrow_schema
    ) as writer:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            new = changes.within(start, start + len(table))
            stay = changes.kept(start, start + len(table))
            start += len(table)
            if values:
                column = _in_one_piece(table.column(place))
                table = table.set_column(place, field, with_labels(column, new, values))
            if stay is not None:
                table = table.filter(pa.array(stay))
            writer.write_table(table, row_group_size=max(1, len(table)))


def _refuse_other_parts(names: Sequence[str], description: str) -> None:
    """Raise a `DataError` where names such as `train-00000-of-00002` tell of other parts."""
    numbered = [NUMBERED.fullmatch(name) for name in names]
    sets = sorted({(found[1], int(found[3])) for found in numbered if found})
    if not sets:
        return
    stem, count = sets[0]
    if len(sets) > 1 or not all(numbered):
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise DataError(
            f"{description}: holds the parts of several data sets ({shown}); expected a folder for "
            f"each, or a pattern such as {stem}-*{ENDING}"
        )
    there = {int(found[2]) for found in numbered if found}
    missing = [number for number in range(min(count, len(names) + 1)) if number not in there]
    if missing:
        raise DataError(
            f"{description}: holds {len(names)} of {count} parts; "
            f"{stem}-{missing[0]:05}-of-{count:05}{ENDING} is missing"
        )


def _gathered(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield tables of at least `rows` rows where they follow each other with the same columns.

    To make a frame costs by the call far more than by the row.
    """
    waiting: list[pa.Table] = []
    for table in tables:
        if waiting and table.schema != waiting[0].schema:
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(table)
        if sum(map(len, waiting)) >= rows:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _all_but(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the tables without the first `rows` rows."""
    for table in tables:
        if rows < len(table):
            yield table.slice(rows)
        rows = max(rows - len(table), 0)


def _file(path: Path) -> pyarrow.parquet.ParquetFile:
    return pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _refuse_repeated_values(path: Path, description: str) -> None:
    """Raise a `DataError` where few long values, each said once, would fill the memory.

    Read as dictionaries, values that the file says once are held once, whatever their rows; where
    values only say in what they differ from the last, few rows are read at a time. Files of many
    megabytes are not read twice for it.
    """
    with _file(path) as file:
        paths = [file.schema.column(place).path for place in range(len(file.schema))]
        differing, longest = _differing(file.metadata)
    allowed = most_bytes([path])
    few = max(1, min(_ROWS_PER_READ, _BYTES_AT_ONCE // longest))
    with pyarrow.parquet.ParquetFile(
        path,
        buffer_size=_BUFFER_BYTES,
        pre_buffer=False,
        read_dictionary=[name for name in paths if name not in differing],
    ) as file:
        decoded = 0
        for names, rows in (
            ([n for n in paths if n not in differing], _ROWS_PER_READ),
            ([n for n in paths if n in differing], few),
        ):
            for batch in file.iter_batches(rows, columns=names) if names else ():
                decoded += sum(map(decoded_bytes, batch.columns))
                if decoded > allowed:
                    raise too_many_bytes(description)


def _differing(metadata: pyarrow.parquet.FileMetaData) -> tuple[set[str], int]:
    """Return the columns that Arrow cannot read as dictionaries, and how long a value may be."""
    names, longest = set(), 1
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            column = metadata.row_group(group).column(place)
            if "DELTA_BYTE_ARRAY" in column.encodings:
                names.add(column.path_in_schema)
                longest = max(longest, column.total_uncompressed_size)
    return names, longest


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


FORMAT = Format.of_files(lambda path, description: Parquet.open([path], description), ENDING)
FOLDER = Format(
    lambda path: not path.is_file() and shard_paths(path, ENDING) is not None,
    lambda path, _: Parquet.open_folder(path, str(path)),
)

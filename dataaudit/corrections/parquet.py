"""Other labels in a Parquet file; schema, metadata, row groups and compression as they were."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from dataaudit.datasets.arrow_column import new_values, with_labels
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.files import readable
from dataaudit.datasets.parquet import Parquet
from dataaudit.datasets.samples import Samples


def write_parquet(samples: Samples, source: Parquet, changes: Changes, target: Path) -> None:
    """Write the file with other labels, one row group in memory at a time.

    Parameters
    ----------
    samples : Samples
    source : Parquet
        Its source.
    changes : Changes
    target : Path
    """
    with (
        readable(source.description, "a Parquet file"),
        pyarrow.parquet.ParquetFile(source.path) as file,
    ):
        schema = file.schema_arrow
        place = schema.get_field_index(str(samples.label_column))
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
                start = int(source.starts[number])
                new = changes.within(start, start + len(table))
                if values:
                    column = _in_one_piece(table.column(place))
                    table = table.set_column(place, field, with_labels(column, new, values))
                writer.write_table(table, row_group_size=max(1, len(table)))


def _codec(name: str) -> str:
    return "NONE" if name == "UNCOMPRESSED" else name


def _in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.unify_dictionaries().combine_chunks()

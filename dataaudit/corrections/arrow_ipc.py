"""Other labels in Arrow files and streams; schema, metadata and record batches as they were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from dataaudit.datasets.arrow_column import new_values, with_labels
from dataaudit.datasets.arrow_ipc import ArrowFiles, opened, record_batches
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.files import readable
from dataaudit.datasets.samples import Samples


def write_arrow(
    samples: Samples,
    source: ArrowFiles,
    changes: Changes,
    targets: Sequence[Path],
    stored: Sequence[str] | None = None,
) -> None:
    """Write the files with other labels, one record batch in memory at a time.

    Parameters
    ----------
    samples : Samples
    source : ArrowFiles
        Its source.
    changes : Changes
    targets : sequence of Path
        One for each file of the source.
    stored : sequence of str or None
        The names that the data stores for its class numbers, in its order.
    """
    place = source.schema.get_field_index(str(samples.label_column))
    field = source.schema.field(place)
    values = new_values(samples, changes, field.type, stored)
    start = 0
    for path, target in zip(source.paths, targets, strict=True):
        with readable(source.description, "an Arrow file or stream"), opened(path) as reader:
            is_file = isinstance(reader, pyarrow.ipc.RecordBatchFileReader)
            new_writer = pyarrow.ipc.new_file if is_file else pyarrow.ipc.new_stream
            with pa.OSFile(str(target), "wb") as sink, new_writer(sink, reader.schema) as writer:
                for _, batch in record_batches(reader, None):
                    stop = start + batch.num_rows
                    new = changes.within(start, stop)
                    if values:
                        column = with_labels(batch.column(place), new, values)
                        batch = batch.set_column(place, field, column)
                    writer.write_batch(batch)
                    start = stop

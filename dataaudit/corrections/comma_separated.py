"""Other labels in a CSV file, every other byte as it was."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dataaudit.datasets.changes import Changes, as_cell, first_row_of
from dataaudit.datasets.comma_separated import CommaSeparated
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.text_lines import read_block

# A field with what ends it; possessive, so that the time is linear in the line.
_FIELD = re.compile(rb'("(?:[^"]++|"")*+"[^,\r\n]*+|[^,\r\n]*+)(,|\r\n|\n|\r|\Z)')
_COPY_BYTES = 1024 * 1024


def write_comma_separated(
    samples: Samples, source: CommaSeparated, changes: Changes, target: Path
) -> None:
    """Write the file with other labels.

    Parameters
    ----------
    samples : Samples
    source : CommaSeparated
        Its source.
    changes : Changes
        Each new label is written as the file writes that class elsewhere.
    target : Path
    """
    column = source.columns().index(str(samples.label_column))
    if changes.values is not None:
        written = {place: _cell(as_cell(samples, new)) for place, new in enumerate(changes.values)}
    else:
        written = {
            label: _as_written(samples, source, column, label) for label in changes.classes()
        }
    with source.path.open("rb") as original, target.open("wb") as copy:
        for number, block in enumerate(source.blocks):
            _copy_until(original, copy, block.offset)
            start, stop = int(source.starts[number]), int(source.starts[number + 1])
            new = {row: written[label] for row, label in changes.within(start, stop).items()}
            content = original.read(block.size)
            copy.write(_with_labels(content, column, new) if new else content)
        _copy_until(original, copy, None)


def _as_written(samples: Samples, source: CommaSeparated, column: int, label: int) -> bytes:
    row = first_row_of(samples, label)
    if row is None:
        return _cell(samples.classes[label])
    number = int(np.searchsorted(source.starts, row, side="right")) - 1
    content = read_block(source.path, source.blocks[number], source.description)
    spans = _spans(content, column)
    start, end = next(span for place, span in spans if place == row - source.starts[number])
    return content[start:end]


def _cell(value: str | int) -> bytes:
    text = io.StringIO()
    # Ends of lines are quoted only where they are the writer's own.
    csv.writer(text, lineterminator="\r\n").writerow([value])
    return text.getvalue().removesuffix("\r\n").encode("utf-8")


def _with_labels(content: bytes, column: int, new: Mapping[int, bytes]) -> bytes:
    parts = []
    done = 0
    for row, (start, end) in _spans(content, column):
        if row in new:
            parts += [content[done:start], new[row]]
            done = end
    return b"".join([*parts, content[done:]])


def _spans(content: bytes, column: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield each row's number in the block, and where its field `column` begins and ends."""
    row = field = position = 0
    span = (0, 0)
    while position < len(content):
        match = _FIELD.match(content, position)
        assert match is not None
        if field == column:
            span = match.span(1)
        position = match.end()
        if match[2] == b",":
            field += 1
            continue
        # The loader passes over empty lines, so they are no rows here either.
        if field or match[1]:
            yield row, span
            row += 1
        field = 0


def _copy_until(original: BinaryIO, copy: BinaryIO, end: int | None) -> None:
    while end is None or original.tell() < end:
        left = _COPY_BYTES if end is None else min(_COPY_BYTES, end - original.tell())
        content = original.read(left)
        if not content:
            return
        copy.write(content)

"""JSONL files: one JSON object a line, UTF-8, read block by block.

The type of each column is settled by one pass over the whole file; see `json_values`. A key that
is missing is a missing value, as `null` is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.frames import block_starts
from dataaudit.datasets.json_values import COLUMNS, Column, Kind, json_object, series
from dataaudit.datasets.text_lines import (
    TextBlock,
    TextRows,
    changed,
    read_block,
    text_blocks,
)
from dataaudit.errors import DataError


@dataclass(frozen=True)
class JsonLines(TextRows):
    """The rows of a JSONL file.

    `take` parses the blocks (256 KiB) that hold the rows asked for, nothing else.
    """

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
        for block, content in text_blocks(path, description, _every_line_ends):
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
        starts = block_starts(counts)
        kinds = {name: column.kind(int(starts[-1])) for name, column in columns.items()}
        return cls(description, path, blocks, starts, kinds)

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
        wanted = self.columns() if columns is None else columns
        try:
            filled = {
                name: series([record.get(name) for record in records], self.kinds[name])
                for name in wanted
            }
        except (ValueError, TypeError, OverflowError) as error:
            raise changed(self.description) from error
        return pd.DataFrame(filled, index=pd.RangeIndex(len(records)))


def _every_line_ends(line: bytes, continued: bool) -> bool:
    """Tell that a record never goes on after its line."""
    return False


def _lines(content: bytes, block: TextBlock) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their numbers."""
    for number, line in enumerate(content.split(b"\n"), start=block.first_line):
        if line.strip():
            yield number, line

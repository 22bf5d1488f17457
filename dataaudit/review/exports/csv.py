"""Rows for review as CSV: opens in a spreadsheet, comes back as a file of decisions.

The columns `decision`, `new_label`, `reviewer` and `comment` are empty, for the reviewer to fill.
Columns of the data set follow, each with `data.` before its name. Formulas are made inert; see
`dataaudit.inert`. Pictures are left out: no spreadsheet shows them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from dataaudit.inert import without_formulas
from dataaudit.review.exports.rows import ExportRow, as_text
from dataaudit.review.exports.spool import write_by_rank

FOUND = [
    "row_id",
    "given_label",
    "suggested_label",
    "probability",
    "score",
    "rank",
    "flagged",
    "train_sha256",
]
TO_FILL = ["decision", "new_label", "reviewer", "comment"]


def write_csv(
    target: Path, rows: Iterable[ExportRow], columns: list[str], text_column: str | None
) -> int:
    """Write the rows, most suspicious first, and return how many there were.

    Parameters
    ----------
    target : Path
    rows : iterable of ExportRow
    columns : list of str
        The columns of the data set, in order.
    text_column : str or None
        The one of them that holds the text.
    """
    header = [*FOUND, *TO_FILL, *(f"data.{name}" for name in columns)]

    def cells(row: ExportRow) -> list[object]:
        content: dict[str, object] = dict(row.fields)
        if text_column is not None:
            content[text_column] = row.text
        found = [getattr(row, name) for name in FOUND]
        return [*found, *("" for _ in TO_FILL), *(content[name] for name in columns)]

    return write_by_rank(
        target, ((row.rank, csv_line(cells(row))) for row in rows), before=csv_line(header)
    )


def csv_line(cells: Iterable[object]) -> bytes:
    """Return a line of a CSV file in which no cell is a formula."""
    text = io.StringIO()
    # Only the characters of its own line end make the writer quote a cell, and a carriage return
    # without quotes ends a line for most readers.
    csv.writer(text, lineterminator="\r\n").writerow([_cell(value) for value in cells])
    return (text.getvalue().removesuffix("\r\n") + "\n").encode("utf-8")


def _cell(value: object) -> str:
    # Numbers are no formulas: -0.5 stays what it is.
    return without_formulas(value) if isinstance(value, str) else as_text(value)

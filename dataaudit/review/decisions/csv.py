"""Decisions from a CSV file: one that `dataaudit export` wrote and a person filled, or any other.

The columns `row_id` and one of `decision` and `new_label` are needed; `reviewer`, `comment` and
`date` are read where they stand, and so are `given_label`, `train_sha256` and
`suspects_sha256` of an export. In the
column `what`, `label` (or nothing) and `leak` tell what a decision is about.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from dataaudit.datasets.files import existing, readable
from dataaudit.datasets.text_lines import RECORD_BYTES
from dataaudit.errors import DataError, close_match
from dataaudit.inert import as_it_was
from dataaudit.review.decisions.said import Said

DECIDING = ("row_id", "decision", "new_label", "what")
"""Columns that say what was decided: none of them may be passed over for how it is written."""
READ = frozenset(
    {*DECIDING, "reviewer", "comment", "date", "given_label", "train_sha256", "suspects_sha256"}
)


def read_csv(path: Path) -> list[Said]:
    """Return what the file says, without the rows nobody has decided about.

    Raises
    ------
    DataError
        The file is missing, is not UTF-8, lacks a column or has it twice, or has a line of another
        length.
    """
    return [
        _said(path, line, record)
        for line, record in _records(existing(path))
        if record.get("decision", "").strip() or record.get("new_label", "")
    ]


def _records(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    # Exported texts are longer than the csv module allows for.
    csv.field_size_limit(RECORD_BYTES)
    try:
        # A spreadsheet may put a byte order mark before the first name.
        with readable(str(path), "a CSV file"), path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            names = next(lines, [])
            _require_columns(path, names)
            for cells in lines:
                if len(cells) not in (0, len(names)):
                    raise DataError(
                        f"{path}: line {lines.line_num}: expected {len(names)} fields, "
                        f"found {len(cells)}"
                    )
                if cells:
                    yield lines.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: line {lines.line_num}: not CSV: {error}") from None


def _require_columns(path: Path, names: list[str]) -> None:
    twice = next((name for name in names if name in READ and names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: the column {twice!r} is there twice, expected once")
    unread = next((name for name in names if name not in READ and _plain(name) in DECIDING), None)
    if unread is not None:
        raise DataError(
            f"{path}: the column {unread!r} would not be read; did you mean {_plain(unread)!r}?"
        )
    if len(names) == 1 and ";" in names[0]:
        raise DataError(f"{path}: the fields seem to be separated by ';', expected commas")
    shown = ", ".join(map(repr, names[:20])) or "none"
    if "row_id" not in names:
        near = close_match("row_id", names)
        hint = f"; did you mean {near!r}?" if near else ""
        raise DataError(f"{path}: no column 'row_id'; the columns are {shown}{hint}")
    if "decision" not in names and "new_label" not in names:
        raise DataError(
            f"{path}: no column 'decision' and none 'new_label'; the columns are {shown}"
        )


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _said(path: Path, line: int, record: Mapping[str, str]) -> Said:
    where = f"{path}: line {line}"
    what = record.get("what", "").strip().lower() or "label"
    if what not in ("label", "leak"):
        raise DataError(f"{where}: unknown what {record['what']!r}; expected label or leak")
    return Said(
        where=where,
        what=what,
        row_id=record["row_id"],
        decision=record.get("decision", ""),
        new_label=record.get("new_label", ""),
        reviewer=as_it_was(record.get("reviewer", "")).strip(),
        comment=as_it_was(record.get("comment", "")).strip(),
        date=record.get("date", "").strip(),
        # Nobody knew it where the cell is empty: the page does not hold every row.
        given_label=record.get("given_label") or None,
        train_sha256=record.get("train_sha256"),
        suspects_sha256=record.get("suspects_sha256"),
    )

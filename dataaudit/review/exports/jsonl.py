"""Rows for review as JSONL: one object a line, for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from dataaudit.review.exports.rows import ExportRow
from dataaudit.review.exports.spool import write_by_rank


def write_jsonl(target: Path, rows: Iterable[ExportRow]) -> int:
    """Write the rows, most suspicious first, and return how many there were."""
    return write_by_rank(target, ((row.rank, _line(row)) for row in rows))


def _line(row: ExportRow) -> bytes:
    known = {name: value for name, value in asdict(row).items() if value is not None}
    return (json.dumps(known, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")

"""`memorization.html`, `memorization.json` and `memorization.parquet`."""

from __future__ import annotations

from pathlib import Path

from dataaudit.memorized.check import MemorizationResult
from dataaudit.memorized.page import render_memorization
from dataaudit.outputs import write_outputs
from dataaudit.store import table, text

PAGE, DATA, ROWS = "memorization.html", "memorization.json", "memorization.parquet"
FILES = (PAGE, DATA, ROWS)


def write_memorization(result: MemorizationResult, out: Path, *, overwrite: bool) -> Path:
    """Write page, data and table to the directory `out`, and return the page's path.

    Raises
    ------
    RunDirectoryError
        `out` holds something else, or cannot be written.
    """
    files = {
        ROWS: table(result.rows),
        PAGE: text(render_memorization(result.report)),
        DATA: text(result.report.model_dump_json(indent=2) + "\n"),
    }
    return write_outputs(files, out, overwrite=overwrite) / PAGE

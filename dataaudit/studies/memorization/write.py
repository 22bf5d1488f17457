"""`memorization.html`, `memorization.json` and `memorization.parquet`."""

from __future__ import annotations

from pathlib import Path

from dataaudit.run_directory.outputs import write_outputs
from dataaudit.run_directory.store import table, text
from dataaudit.studies.memorization.check import MemorizationResult
from dataaudit.studies.memorization.page import render_memorization

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

"""`verify.html`, `verify.json` and `points.parquet` of a verification."""

from __future__ import annotations

from pathlib import Path

from dataaudit.run_directory.outputs import write_outputs
from dataaudit.run_directory.store import table, text
from dataaudit.studies.verification.check import VerificationResult
from dataaudit.studies.verification.page import render_verification

PAGE, DATA, POINTS = "verify.html", "verify.json", "points.parquet"
FILES = (PAGE, DATA, POINTS)


def write_verification(result: VerificationResult, out: Path, *, overwrite: bool) -> Path:
    """Write page, data and points to the directory `out`, and return the page's path.

    Raises
    ------
    RunDirectoryError
        `out` holds something else, or cannot be written.
    """
    files = {
        POINTS: table(result.points),
        PAGE: text(render_verification(result.report, result.points)),
        DATA: text(result.report.model_dump_json(indent=2) + "\n"),
    }
    return write_outputs(files, out, overwrite=overwrite) / PAGE

"""`dataaudit compare`: the comparison in words, and as compare.html and compare.json."""

from __future__ import annotations

from pathlib import Path

from dataaudit.errors import DataError
from dataaudit.report.render import render_template
from dataaudit.review.comparison.build import compare
from dataaudit.review.comparison.data import Comparison
from dataaudit.review.comparison.page import build_comparison_page, comparison_lines
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.finished import FinishedAudit

PAGE = "compare.html"
DATA = "compare.json"


def compare_directories(old: Path, new: Path, out: Path | None) -> list[str]:
    """Compare two finished audits, and return lines that say what changed.

    Parameters
    ----------
    old, new : Path
        The directories of the earlier and of the later audit.
    out : Path or None
        A directory for `compare.html` and `compare.json`; None writes no files.

    Raises
    ------
    DataAuditError
        There is no audit, the two cannot be compared, or `out` cannot be written.
    """
    comparison = compare(FinishedAudit.open(old), FinishedAudit.open(new))
    lines = comparison_lines(comparison)
    if out is None:
        return lines
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in (
            (DATA, comparison.model_dump_json(indent=2) + "\n"),
            (PAGE, render_comparison(comparison)),
        ):
            _write(out / name, text)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from None
    return [*lines, f"comparison: {(out / PAGE).absolute()}"]


def render_comparison(comparison: Comparison) -> str:
    """Return the comparison as one HTML page that opens offline and runs no script."""
    return render_template("compare.html.j2", build_comparison_page(comparison))


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))

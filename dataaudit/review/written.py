"""The report of a finished audit, written again after people have added to it."""

from __future__ import annotations

from pathlib import Path

from dataaudit.report.data import AuditReport
from dataaudit.report.render import render
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.store import AUDIT, REPORT, text


def write_report(directory: Path, report: AuditReport) -> None:
    """Write `audit.json` and `report.html`, each by a finished rename."""
    write_atomically(directory / AUDIT, text(report.model_dump_json(indent=2) + "\n"))
    write_atomically(directory / REPORT, text(render(report)))

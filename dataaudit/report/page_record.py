"""The record of an audit: what an auditor prints and signs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dataaudit.about import NOT_PROVIDED
from dataaudit.report.data import AuditReport
from dataaudit.report.page_parts import Fact, GateView, KeyFigure, Table
from dataaudit.report.steps import Step, leak_progress_words, progress_words


@dataclass(frozen=True)
class RecordView:
    """The first page of the record."""

    gates: Table
    figures: list[Fact]
    progress: str
    reviewers: str
    open_points: list[str]
    hash: str


def view_record(
    report: AuditReport,
    gates: Sequence[GateView],
    figures: Sequence[KeyFigure],
    steps: Sequence[Step],
) -> RecordView:
    """Return the first page of the record."""
    return RecordView(
        gates=Table(
            "Limits set beforehand",
            ["limit", "found", "interval and limit", "outcome"],
            [[gate.name, gate.found, gate.interval, gate.outcome] for gate in gates],
        ),
        figures=[Fact(item.label, f"{item.value} ({item.note})") for item in figures],
        progress=_progress(report),
        reviewers=_reviewers(report),
        open_points=[step.text for step in steps if not step.done],
        hash=content_hash(report),
    )


def content_hash(report: AuditReport) -> str:
    """Return the SHA-256 of what `audit.json` holds, however it is laid out."""
    return hashlib.sha256(report.model_dump_json().encode("utf-8")).hexdigest()


def _progress(report: AuditReport) -> str:
    parts = []
    if report.labels is not None and report.labels.rows_flagged:
        _, words = progress_words(report.labels, report.remediation)
        parts.append(f"Flagged rows: {words or 'none decided yet'}.")
    if report.leakage is not None and report.leakage.suspects_flagged:
        _, words = leak_progress_words(report.leakage, report.remediation)
        parts.append(f"Leaks: {words or 'none decided yet'}.")
    return " ".join(parts)


def _reviewers(report: AuditReport) -> str:
    names = dict.fromkeys(
        item.reviewer for item in report.remediation if item.reviewer not in ("", NOT_PROVIDED)
    )
    return f"Decided by {', '.join(names)}." if names else ""

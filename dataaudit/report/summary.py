"""A finished audit in a few lines of text, for the terminal."""

from __future__ import annotations

from dataaudit.report.data import AuditReport


def summary_lines(report: AuditReport) -> list[str]:
    """Return what an engineer wants to see first, a finding a line."""
    lines = [f"{report.identity.name}: {report.verdict.headline}"]
    lines += [f"- {finding.title}. {finding.text}" for finding in report.findings]
    lines += [f"note: {note}" for note in report.coverage.notes]
    for gate in report.verdict.gates:
        found = "not measured" if gate.found is None else f"{gate.found:.4g}"
        if gate.low is not None and gate.low != gate.high:
            found += f", 95% interval {gate.low:.4g} to {gate.high:.4g}"
        outcome = {"met": "passed", "not met": "FAILED", "cannot tell": "CANNOT TELL"}[gate.outcome]
        lines.append(f"gate {gate.name}: {outcome} (found {found}, limit {gate.limit:.4g})")
    return lines

"""`dataaudit demo`: audit the data that come with dataaudit."""

from __future__ import annotations

from pathlib import Path

from dataaudit.commands.shared import Out, print_lines, print_summary


def demo(out: Out = Path("audit-demo")) -> None:
    """Audit the handwritten digits that come with dataaudit, and count the planted faults found."""
    from dataaudit.stages.demo import run_demo

    result, findings = run_demo(out)
    print_summary(result.report, out)
    print_lines(findings)

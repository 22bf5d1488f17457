"""`dataaudit report`: the page of a finished audit, rendered again."""

from __future__ import annotations

from dataaudit.commands.shared import AuditDirectory, print_lines


def report(directory: AuditDirectory) -> None:
    """Render report.html of a finished audit again, from its audit.json."""
    from dataaudit.stages.auditing import render_again

    print_lines([f"report: {render_again(directory)}"])

"""`dataaudit report`: the page of a finished audit, rendered again."""

from __future__ import annotations

import typer

from dataaudit.commands.shared import AuditDirectory


def report(directory: AuditDirectory) -> None:
    """Render report.html of a finished audit again, from its audit.json."""
    from dataaudit.stages.auditing import render_again

    typer.echo(f"report: {render_again(directory)}")

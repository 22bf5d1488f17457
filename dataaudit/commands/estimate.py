"""`dataaudit estimate`: what the reviewed rows say of all rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import AuditDirectory, print_lines


def estimate(
    directory: AuditDirectory,
    decisions: Annotated[
        Path | None,
        typer.Option(
            help="The file that `dataaudit sample` wrote, filled in. Else decisions.csv in "
            "DIRECTORY."
        ),
    ] = None,
) -> None:
    """Estimate the share of wrong labels and the precision of the flags from reviewed rows.

    Writes estimate.json, corrects probability and flagged in mislabels.parquet (as it was before:
    mislabels.claimed.parquet), and renders the report again.
    """
    from dataaudit.review.decisions.read import decisions_file
    from dataaudit.review.sampling.estimate import estimate as estimate_audit
    from dataaudit.run_directory.finished import as_read_back
    from dataaudit.run_directory.store import amending

    with amending(directory), as_read_back(directory):
        lines = estimate_audit(directory, decisions_file(directory, decisions))
    print_lines(lines)

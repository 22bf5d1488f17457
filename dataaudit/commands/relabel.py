"""`dataaudit relabel`: the training data with the reviewers' labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import AuditDirectory, MovedData, MovedSuspects, print_lines


def relabel(
    directory: AuditDirectory,
    out: Annotated[Path, typer.Option(help="The corrected data, in the original's format.")],
    decisions: Annotated[
        Path | None,
        typer.Option(
            help="CSV with row_id and decision or new_label; or Label Studio JSON. Else "
            "decisions.csv in DIRECTORY."
        ),
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="The evaluation set without the copies, in its own format.")
    ] = None,
    data: MovedData = None,
    suspects: MovedSuspects = None,
) -> None:
    """Write the training data with the reviewers' labels; log them, measure the precision reached.

    Rows decided to be dropped are left out. The originals are never changed. Decisions that do not
    fit the audit are refused.
    """
    from dataaudit.review.decisions.read import decisions_file
    from dataaudit.review.relabel import relabel as relabel_data

    print_lines(
        relabel_data(
            directory,
            decisions_file(directory, decisions),
            out,
            evaluation=evaluation,
            moved_to=data,
            suspects_at=suspects,
        )
    )

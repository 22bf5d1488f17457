"""`dataaudit fix`: the data as reviewers decided, and a split without leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import AuditDirectory, MovedData, MovedSuspects, print_lines


def fix(
    directory: AuditDirectory,
    out: Annotated[Path, typer.Option(help="A new folder for what is written.")],
    decisions: Annotated[
        Path | None,
        typer.Option(help="Decisions to log first; without it, those that are logged count."),
    ] = None,
    data: MovedData = None,
    suspects: MovedSuspects = None,
) -> None:
    """Write the corrected training set, the evaluation set without copies, and a leak-free split.

    The same decisions give the same bytes, in the formats of the originals, which are never
    changed. changes.jsonl has a line for each change; split.csv puts rows that belong together on
    one side.
    """
    from dataaudit.review.fix import fix as fix_data

    print_lines(fix_data(directory, out, decisions=decisions, moved_to=data, suspects_at=suspects))

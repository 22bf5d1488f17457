"""`dataaudit export`: rows of a finished audit for review."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import AuditDirectory, MovedData, MovedSuspects, print_lines
from dataaudit.review.exports.choices import ExportFormat, Selection, What


def export(
    directory: AuditDirectory,
    to: Annotated[ExportFormat, typer.Option(help="The format.")],
    out: Annotated[Path | None, typer.Option(help="The file; else beside the directory.")] = None,
    only: Annotated[Selection, typer.Option(help="Which rows.")] = Selection.flagged,
    what: Annotated[What, typer.Option(help="Doubtful labels, or leaks.")] = What.label,
    data: MovedData = None,
    suspects: MovedSuspects = None,
) -> None:
    """Write the rows of a finished audit for review, most suspicious first.

    In CSV, fill `decision` (keep, relabel, drop, unsure; of leaks copy, similar, unsure),
    `new_label` and `reviewer`, then hand the file to `dataaudit relabel`. For Label Studio, a
    labelling configuration is written as well. SARIF holds a result for each finding and each gate
    that is not met, for code-scanning pages. A training summary is a draft under the headings of
    the European Commission's template, of language and image models.
    """
    from dataaudit.review.exports.export import export as export_audit

    only_flagged = only is Selection.flagged
    print_lines(
        export_audit(
            directory,
            to,
            out,
            what=what,
            only_flagged=only_flagged,
            moved_to=data,
            suspects_at=suspects,
        )
    )

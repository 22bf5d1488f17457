"""`dataaudit memorization`: rows whose prediction depends on having been trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import OverwriteResults, print_lines


def memorization(
    audit_yaml: Annotated[Path, typer.Argument(help="Whose training rows to look at.")],
    out: Annotated[Path, typer.Option(help="Directory for page, JSON and table.")],
    draws: Annotated[int, typer.Option(help="Halves of the rows that are relearned, even.")] = 8,
    passes: Annotated[float, typer.Option(help="Over each half.")] = 5.0,
    keep: Annotated[float, typer.Option(help="Share of the trained weights kept, 0 to 1.")] = 0.7,
    overwrite: OverwriteResults = False,
) -> None:
    """Find the rows whose prediction depends on their having been trained on: the long tail.

    Writes memorization.parquet with one line for every training row, and a page of the rows at
    the top.
    """
    from dataaudit.run_directory.store import ResultsDirectory
    from dataaudit.studies.memorization.check import (
        MEMORIZATIONS,
        PAGE,
        memorization_file,
    )
    from dataaudit.studies.memorization.settings import MemorizationSettings

    settings = MemorizationSettings(draws=draws, passes=passes, keep=keep)
    with ResultsDirectory(out, MEMORIZATIONS, overwrite=overwrite) as directory:
        result = memorization_file(audit_yaml, settings)
        directory.publish(result.files())
    print_lines([result.report.headline, f"memorization: {directory.path / PAGE}"])

"""`dataaudit sample`: rows drawn at random, to be reviewed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import AuditDirectory, MovedData, print_lines


def sample(
    directory: AuditDirectory,
    rows: Annotated[int, typer.Option(help="How many rows to draw; 60 is a good beginning.")],
    out: Annotated[Path, typer.Option(help="A new .csv file, or .json for Label Studio.")],
    seed: Annotated[int, typer.Option(help="Of the draw; another one draws other rows.")] = 0,
    data: MovedData = None,
) -> None:
    """Draw rows at random over the whole ranking, for a reviewer to decide.

    What is decided about them speaks for all rows: `dataaudit estimate` then says how many labels
    are wrong and how good the flags are, whatever the model did.
    """
    from dataaudit.review.sampling.sample import sample as draw_sample
    from dataaudit.run_directory.finished import as_read_back
    from dataaudit.run_directory.store import amending

    with amending(directory), as_read_back(directory):
        lines = draw_sample(directory, rows, out, seed=seed, moved_to=data)
    print_lines(lines)

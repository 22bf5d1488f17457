"""`dataaudit compare`: two audits of the same data, before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import OverwriteResults, print_lines


def compare(
    old: Annotated[Path, typer.Argument(help="The earlier audit's directory.")],
    new: Annotated[Path, typer.Argument(help="The later audit's directory.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory for compare.html and compare.json.")
    ] = None,
    overwrite: OverwriteResults = False,
) -> None:
    """Say which flagged rows and leaks were fixed, which are new, and which remain."""
    from dataaudit.review.comparison.build import compare_directories

    print_lines(compare_directories(old, new, out, overwrite=overwrite))

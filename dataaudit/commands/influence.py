"""`dataaudit influence`: every training row against groups of held-out samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import print_lines


def influence(
    audit_yaml: Annotated[Path, typer.Argument(help="Its train and held_out are used.")],
    out: Annotated[Path, typer.Option(help="Directory for the scores.")],
    kind: Annotated[str, typer.Option(help="The mirror: auto, finite, linear or head.")] = "auto",
    steps: Annotated[int, typer.Option(help="Steps that each group is learned for.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="Of these steps.")] = 1e-2,
    groups: Annotated[
        str | None, typer.Option(help="Column of held_out: its values are the query groups.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the scores in the directory.")
    ] = False,
) -> None:
    """Score every training row against groups of held-out samples: what learning them does to it.

    Without --groups, each held-out sample is a group of its own; see docs/speed.md.
    """
    from dataaudit.studies.influence.run import influence_file

    mirror = {"kind": kind, "steps": steps, "learning_rate": learning_rate}
    found = influence_file(audit_yaml, out, groups, mirror, overwrite=overwrite)
    print_lines(found.summary())

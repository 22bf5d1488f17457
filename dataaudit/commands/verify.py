"""`dataaudit verify`: how far influence can be trusted, by training again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import OverwriteResults, print_lines


def verify(
    audit_yaml: Annotated[Path, typer.Argument(help="What to verify; held_out are the queries.")],
    out: Annotated[Path, typer.Option(help="Directory for page, JSON and points.")],
    groups: Annotated[int, typer.Option(help="Groups of rows left out, of each design.")] = 16,
    group_size: Annotated[
        int | None, typer.Option(help="Rows left out together; 1 is leave-one-out.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Training rows used; drawn where there are more.")] = (
        2000
    ),
    repeats: Annotated[int, typer.Option(help="Trainings of each kind, from other seeds.")] = 2,
    start: Annotated[
        str, typer.Option(help="Train again from `fresh` or from `trained` weights.")
    ] = "fresh",
    epochs: Annotated[int, typer.Option(help="Of training again.")] = 10,
    learning_rate: Annotated[float, typer.Option(help="Of training again.")] = 3e-3,
    overwrite: OverwriteResults = False,
) -> None:
    """Check by training again how far influence can be trusted for this model and these data.

    The model is trained again without groups of rows, and with queries added; a logistic
    regression of scikit-learn is fitted again. Cost: repeats × (3 × groups + 14) trainings.
    """
    from dataaudit.run_directory.store import ResultsDirectory
    from dataaudit.studies.verification.check import PAGE, VERIFICATIONS, verify_file
    from dataaudit.studies.verification.settings import VerifySettings

    settings = VerifySettings(
        groups=groups,
        group_size=group_size,
        rows=rows,
        repeats=repeats,
        start=start,
        epochs=epochs,
        learning_rate=learning_rate,
    )
    with ResultsDirectory(out, VERIFICATIONS, overwrite=overwrite) as directory:
        result = verify_file(audit_yaml, settings)
        directory.publish(result.files())
    print_lines([result.report.headline, f"verification: {directory.path / PAGE}"])

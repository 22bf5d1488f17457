"""`dataaudit run`: audit what an audit.yaml names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import Out, Overwrite, Resume, conclude


def run(
    audit_yaml: Annotated[Path, typer.Argument(help="What to audit; see README.")],
    out: Out,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Audit what AUDIT_YAML names; write report and tables to the directory given by --out.

    Without `model:` in the file, the data alone is looked at, in seconds.

    Exits with 0 when done, 1 when done and a gate in the file failed, 2 on bad input, 3 when the
    engine was lost and 130 when interrupted; the same command with --resume then goes on where it
    stopped. With --resume, an audit that is finished ends as it did.
    """
    from dataaudit.config import GENERATIVE, load_config

    config = load_config(audit_yaml)
    if config.task in GENERATIVE and config.model is not None:
        from dataaudit.studies.tracing.api import trace_file

        result = trace_file(audit_yaml, out, overwrite=overwrite, resume=resume)
    else:
        from dataaudit.stages.auditing import run_file

        result = run_file(audit_yaml, out, overwrite=overwrite, resume=resume)
    conclude(result, out)

"""`dataaudit trace`: the training rows behind what a model generated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dataaudit.commands.shared import Out, Overwrite, Resume, conclude
from dataaudit.errors import ConfigError


def trace(
    audit_yaml: Annotated[
        Path | None, typer.Argument(help="What to trace, as for run; or give the options below.")
    ] = None,
    out: Out = Path("traced"),
    task: Annotated[str | None, typer.Option(help="causal-lm or diffusion.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="A local folder of the trained model, safetensors.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="The training rows, with `text`.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="What was generated: `prompt` and `completion`, or `text`.")
    ] = None,
    train_id: Annotated[
        str | None, typer.Option("--id", help="The id column of the training rows.")
    ] = None,
    query_id: Annotated[str | None, typer.Option(help="The id column of the queries.")] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Find the training rows behind what a model generated; write report and tables to --out.

    contamination.parquet lists, for each query, the rows it owes most to, best first.
    """
    options = {"--model": model, "--train": train, "--queries": queries}
    given = _given(options)
    if (audit_yaml is None) == (not given) or (audit_yaml is None and len(given) < len(options)):
        raise ConfigError(
            "expected either AUDIT_YAML, or all of --model, --train and --queries; found "
            f"{', '.join([*(['AUDIT_YAML'] if audit_yaml else []), *given]) or 'neither'}"
        )
    if audit_yaml is not None and (named := _given({"--id": train_id, "--query-id": query_id})):
        raise ConfigError(
            f"{' and '.join(named)}: found beside AUDIT_YAML, which names the id columns itself "
            "(train: {id: ...}, suspects: {id: ...})"
        )
    from dataaudit.config import GENERATIVE

    if task is not None and task not in GENERATIVE:
        raise ConfigError(f"--task: found {task!r}, expected {' or '.join(GENERATIVE)}")
    from dataaudit.studies.tracing import api

    if audit_yaml is not None:
        result = api.trace_file(audit_yaml, out, task=task, overwrite=overwrite, resume=resume)
    else:
        result = api.trace(
            model,
            train,
            queries,
            task=task or "causal-lm",
            id=train_id,
            query_id=query_id,
            out=out,
            overwrite=overwrite,
            resume=resume,
        )
    conclude(result, out)


def _given(options: dict[str, Any]) -> list[str]:
    return [name for name, value in options.items() if value is not None]

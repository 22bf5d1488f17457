"""`dataaudit trace` and `dataaudit.trace`: from settings or Python objects to a finished trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dataaudit.config import GENERATIVE, AuditConfig, config_from_python, load_config
from dataaudit.config_errors import refuse_unread
from dataaudit.datasets.samples import Role
from dataaudit.errors import ConfigError, outlives_exits
from dataaudit.report.result import AuditResult
from dataaudit.run_directory.manifest import Clock
from dataaudit.run_directory.store import RunDirectory, opened
from dataaudit.studies.tracing.loading import load_for_tracing, objects_for_tracing
from dataaudit.studies.tracing.run import run_tracing

READ = frozenset(
    {"name", "task", "preprocess", "device", "about", "batch_size", "bad_rows", "mirror.seed",
     "flags.false_discovery_rate", "gates.mislabel_rate", "gates.contaminated", "gates.undecided",
     "model.factory", "model.weights", "model.path", "model.schedule",
     "train.path", "train.id", "held_out.path", "held_out.id", "suspects.path", "suspects.id",
     "trace.top", "trace.direction", "trace.steps", "trace.calibration"}
)  # fmt: skip
"""What tracing reads of the settings, whatever the task."""
READ_FOR = {
    "causal-lm": {
        "train.text", "held_out.text", "suspects.text", "suspects.prompt", "suspects.completion",
        "trace.learning_rate", "trace.loss_change", "trace.background", "trace.context",
    },
    "diffusion": {"trace.draws", "trace.fisher_images", "trace.damping"},
}  # fmt: skip
"""What it reads besides, by task."""


@outlives_exits
@torch.inference_mode(mode=False)
@torch.enable_grad()
def trace(
    model: Any,
    train: Any,
    queries: Any,
    *,
    task: str = "causal-lm",
    preprocess: Any = None,
    schedule: dict[str, Any] | None = None,
    held_out: Any = None,
    id: str | None = None,
    query_id: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    **settings: Any,
) -> AuditResult:
    """Find the training rows that generated samples owe most to.

    Parameters
    ----------
    model : torch.nn.Module, str or Path
        The trained model, or the local folder of one.
    train : str, Path, pandas.DataFrame or data set
        The training rows; for language models with a column `text`.
    queries : as `train`
        What the model generated; for language models columns `prompt` and `completion`, or `text`.
    task : str
        `causal-lm` or `diffusion`.
    preprocess : callable, optional
        For modules: from a data frame to token ids, or to images in the range of the model.
    schedule : dict, optional
        For diffusion models: `model.schedule` of `audit.yaml`.
    held_out : as `train`, optional
        Samples the model was not trained on, to compare with; without them training rows are.
    id, query_id : str, optional
        The id columns of training rows and queries (None: row numbers).
    out : str or Path, optional
        A directory for report and tables; None keeps the results in memory only.
    overwrite, resume : bool
        Whether a finished trace in `out` may be replaced; whether an unfinished one goes on.
    **settings
        The other keys of `audit.yaml`: name, trace, flags, batch_size, device, about.

    Returns
    -------
    AuditResult
        `contamination` holds the rows behind each query, best first; `score` is in standard
        deviations of the row's own background, or for diffusion models the change of the row's
        loss in nats per pixel; higher = the query owes the row more.

    Raises
    ------
    DataAuditError
        The input cannot be used; the message says what and where.
    """
    if task not in GENERATIVE:
        raise ConfigError(f"task: found {task!r}, expected one of {', '.join(GENERATIVE)}")
    settings = {"name": "trace", **settings, "task": task}
    is_folder = isinstance(model, str | Path)
    source = {"path": str(Path(model).absolute())} if is_folder else {"factory": "python:object"}
    settings["model"] = {**source, **({} if schedule is None else {"schedule": schedule})}
    config = config_from_python("label", id, settings)
    if config.suspects is not None:
        named = config.suspects.model_copy(update={"id": query_id})
        config = config.model_copy(update={"suspects": named})
    _refuse_unread("trace()", config)
    splits: dict[Role, Any] = {"train": train, "held_out": held_out, "suspects": queries}
    with opened(out, "trace", overwrite=overwrite, resume=resume) as directory:
        clock = Clock()
        with clock.stage("load"):
            inputs = objects_for_tracing(config, None if is_folder else model, preprocess, splits)
        return run_tracing(inputs, config, directory, None, clock)


def trace_file(
    audit_yaml: Path,
    out: Path,
    *,
    task: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> AuditResult:
    """Trace what an `audit.yaml` of a generative task describes.

    Parameters
    ----------
    audit_yaml, out : Path
    task : str or None
        What the file's task must be; None: any generative one.
    overwrite, resume : bool

    Raises
    ------
    DataAuditError
        The input or the directory cannot be used; the message says what and where.
    """
    config = load_config(audit_yaml)
    expected = GENERATIVE if task is None else (task,)
    if config.task not in expected:
        raise ConfigError(
            f"{audit_yaml}: task: found {config.task}, expected {' or '.join(expected)}"
        )
    folder = audit_yaml.resolve().parent
    _refuse_unread(audit_yaml, config)
    with RunDirectory(out, overwrite=overwrite, resume=resume) as directory:
        clock = Clock()
        with clock.stage("load"):
            inputs = load_for_tracing(config, folder)
        return run_tracing(inputs, config, directory, folder, clock)


def _refuse_unread(where: Path | str, config: AuditConfig) -> None:
    read = READ | READ_FOR[config.task]
    refuse_unread(where, config, read, f"a trace of task {config.task}")

"""The first stage of tracing: the generative model, the training rows and the queries, opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dataaudit.config import AuditConfig, DataConfig
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Role, Samples
from dataaudit.datasets.set_aside import SetAside
from dataaudit.errors import ConfigError, ModelError
from dataaudit.models.recognise import build_model
from dataaudit.models.trained import TrainedModel
from dataaudit.stages.loading import device_of, preprocess_of, split_paths
from dataaudit.studies.tracing.diffusion_loading import diffusion_tracer
from dataaudit.studies.tracing.language_model_loading import language_model_tracer
from dataaudit.studies.tracing.tracer import Tracer

TRACERS: dict[str, Callable[[AuditConfig, nn.Module | None, Any, Samples, Samples], Tracer]] = {
    "causal-lm": language_model_tracer,
    "diffusion": diffusion_tracer,
}
"""For each task, what makes its tracer of the settings, the module (None: of `model.path`), the
user's preprocess (or None), the training rows and the queries."""


@dataclass(frozen=True)
class TraceInputs:
    """What tracing works on; named as in `dataaudit.stages.loading.Loaded`.

    Attributes
    ----------
    tracer : Tracer
        Its model is on the device asked for.
    train : Samples
    held_out : Samples or None
        Trusted samples, to compare with; else training rows are drawn for that.
    suspects : Samples
        The queries: what the model generated.
    """

    tracer: Tracer
    train: Samples
    held_out: Samples | None
    suspects: Samples
    set_aside: dict[Role, SetAside] = field(default_factory=dict)

    @property
    def model(self) -> TrainedModel:
        """The trained model."""
        return self.tracer.model


def load_for_tracing(config: AuditConfig, folder: Path) -> TraceInputs:
    """Open what an `audit.yaml` of a generative task names.

    Parameters
    ----------
    config : AuditConfig
    folder : Path
        The folder of `audit.yaml`, where the user's own module is looked for first.

    Raises
    ------
    ConfigError, DataError, ModelError
        Something is missing, unreadable, or does not fit the rest.
    """
    preprocess = preprocess_of(config, folder)
    built = (
        None if config.trained_model.path is not None else build_model(config.trained_model, folder)
    )
    return objects_for_tracing(config, built, preprocess, split_paths(config))


def objects_for_tracing(
    config: AuditConfig, built: Any, preprocess: Any, splits: Mapping[Role, Any]
) -> TraceInputs:
    """The same from Python objects: a module (None: of `model.path`), data frames or data sets.

    A path stands for the file it leads to.
    """
    if splits["suspects"] is None:
        raise ConfigError(f"suspects: needed for task {config.task}: what the model generated")
    if config.bad_rows.asked:
        raise ConfigError(f"bad_rows: not for task {config.task}; leave it out")
    if built is not None and not isinstance(built, nn.Module):
        raise ModelError(f"the model is a {type(built).__name__}; expected a torch.nn.Module")
    train = _open_split(splits["train"], "train", config)
    suspects = _open_split(splits["suspects"], "suspects", config)
    held_out = None
    if splits["held_out"] is not None:
        held_out = _open_split(splits["held_out"], "held_out", config)
    device: torch.device = device_of(config.device)
    tracer = TRACERS[config.task](
        config, None if built is None else built.eval().to(device), preprocess, train, suspects
    )
    for samples in (train, suspects, held_out):
        if samples is not None:
            # Before hours of work: rows that the model cannot take.
            tracer.check(samples)
    return TraceInputs(tracer, train, held_out, suspects)


def _open_split(data: Any, role: Role, config: AuditConfig) -> Samples:
    columns: DataConfig = getattr(config, role) or config.train
    settings = ReadSettings(role, label=None, id_column=columns.id, task=config.task)
    if isinstance(data, str | Path):
        return open_samples(Path(data), settings)
    return samples_from_object(data, settings)

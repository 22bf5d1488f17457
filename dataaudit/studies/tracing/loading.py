"""The first stage of tracing: the generative model, the training rows and the queries, opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dataaudit.config import AuditConfig, BadRowsConfig, DataConfig
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Role, Samples
from dataaudit.datasets.set_aside import SetAside
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.models.recognise import build_model
from dataaudit.models.trained import TrainedModel
from dataaudit.progress import track
from dataaudit.stages.loading import device_of, preprocess_of, split_paths
from dataaudit.stages.screening import Screening
from dataaudit.studies.tracing.diffusion_loading import diffusion_model
from dataaudit.studies.tracing.language_model_loading import language_model
from dataaudit.studies.tracing.tracer import Generator, Tracer

MODELS: dict[str, Callable[[AuditConfig, nn.Module | None, Any, Samples], Generator]] = {
    "causal-lm": language_model,
    "diffusion": diffusion_model,
}
"""For each task, what makes its model of the settings, the module (None: of `model.path`), the
user's preprocess (or None) and the training rows, whose columns it may look at."""
ROWS_PER_READ = 256


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
    set_aside : dict of role to SetAside
        Rows that cannot be used.
    """

    tracer: Tracer
    train: Samples
    held_out: Samples | None
    suspects: Samples
    set_aside: dict[Role, SetAside]

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
    if config.bad_rows.longest_text is not None:
        raise ConfigError(
            f"bad_rows.longest_text: not for task {config.task}, which cuts nothing off; leave it "
            "out"
        )
    if built is not None and not isinstance(built, nn.Module):
        raise ModelError(f"the model is a {type(built).__name__}; expected a torch.nn.Module")
    given = {role: data for role, data in splits.items() if data is not None}
    opened = {role: _open_split(data, role, config) for role, data in given.items()}
    device: torch.device = device_of(config.device)
    module = None if built is None else built.eval().to(device)
    generator = MODELS[config.task](config, module, preprocess, opened["train"])
    set_aside = {}
    # Before hours of work: rows that cannot be used.
    for role, samples in opened.items():
        generator.check_columns(samples)
        opened[role], set_aside[role] = _screened(samples, generator, config.bad_rows)
    tracer = generator.tracer(opened["train"], opened["suspects"])
    for samples in opened.values():
        tracer.check(samples)
    return TraceInputs(
        tracer, opened["train"], opened.get("held_out"), opened["suspects"], set_aside
    )


def _screened(
    samples: Samples, generator: Generator, settings: BadRowsConfig
) -> tuple[Samples, SetAside]:
    screening, use = Screening(samples, settings), partial(generator.read, samples)
    if settings.asked:
        screening.check_use(use, ROWS_PER_READ)
        return screening.samples, screening.result()
    total = -(-len(samples) // ROWS_PER_READ)
    for batch in track(samples.batches(ROWS_PER_READ), f"checking {samples.role}", total):
        try:
            use(batch)
        except DataError:
            # One by one, so that the message is of the row that it lies at.
            for line in range(len(batch)):
                use(batch.select(np.array([line])))
            raise
    return samples, screening.result()


def _open_split(data: Any, role: Role, config: AuditConfig) -> Samples:
    columns: DataConfig = getattr(config, role) or config.train
    settings = ReadSettings(
        role, label=None, id_column=columns.id, task=config.task, tolerate=config.bad_rows.asked
    )
    if isinstance(data, str | Path):
        return open_samples(Path(data), settings)
    return samples_from_object(data, settings)

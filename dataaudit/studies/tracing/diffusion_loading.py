"""Diffusion models: a local diffusers folder, or a module of the user's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dataaudit.config import AuditConfig, ScheduleConfig
from dataaudit.datasets.frames import spread
from dataaudit.datasets.samples import Batch, Samples
from dataaudit.errors import ConfigError, ModelError
from dataaudit.models.inputs import default_preprocess
from dataaudit.models.torch_module import described, mirrorable
from dataaudit.models.trained import Preprocess, TrainedModel
from dataaudit.stages.loading import device_of
from dataaudit.studies.tracing.diffusion import (
    DEFAULTS,
    DiffusionSettings,
    DiffusionTracer,
    ImageUnlearning,
    images_of,
)
from dataaudit.studies.tracing.noise import NoiseSchedule, schedule_from_diffusers

UNET = "UNet2DModel"
ROWS_PER_READ = 256
FISHER_BYTES = 1 << 28
"""What the training images that the Fisher information is taken over may take."""


@dataclass(frozen=True)
class DiffusionModel:
    """A diffusion model before it has seen images.

    Attributes
    ----------
    model : TrainedModel
        Its preprocess returns images `[rows, ...]` in the range the module was trained on.
    schedule : NoiseSchedule
    config : AuditConfig
    """

    model: TrainedModel
    schedule: NoiseSchedule
    config: AuditConfig

    def check_columns(self, samples: Samples) -> None:
        """Leave it to `read`: where images stand is for the preprocess to know."""

    def read(self, samples: Samples, batch: Batch) -> None:
        """Make images, and forget them.

        Raises
        ------
        DataError
            An image cannot be decoded, or preprocess fails on it.
        """
        images_of(self.model, samples, batch)

    def tracer(self, train: Samples, suspects: Samples) -> DiffusionTracer:
        """Return what traces images, the Fisher information taken over training images.

        Raises
        ------
        DataError, ModelError
            The images are not what the model takes.
        """
        config, first = self.config, images_of(self.model, train, train.take([0]))
        settings = DiffusionSettings(
            fisher_images=config.trace.fisher_images
            or max(1, min(DEFAULTS.fisher_images, FISHER_BYTES // first.nbytes)),
            draws=config.trace.draws or DEFAULTS.draws,
            steps=config.trace.steps or DEFAULTS.steps,
            damping=config.trace.damping or DEFAULTS.damping,
            batch_size=config.batch_size,
            seed=config.mirror.seed,
        )
        chosen = spread(len(train), settings.fisher_images)
        images = torch.cat(
            [
                images_of(self.model, train, train.take(part))
                for part in np.split(chosen, range(ROWS_PER_READ, len(chosen), ROWS_PER_READ))
            ]
        )
        unlearning = ImageUnlearning.of(self.model.module, self.schedule, images, settings)
        return DiffusionTracer(self.model, unlearning)


def diffusion_model(
    config: AuditConfig, built: nn.Module | None, preprocess: Any, train: Samples
) -> DiffusionModel:
    """Return the model of task `diffusion`, and its settings.

    Parameters
    ----------
    config : AuditConfig
    built : torch.nn.Module or None
        Of (noisy images, timesteps), returns the noise. None: the one in `model.path`.
    preprocess : callable or None
        From a data frame to images in the range that the model was trained on; None: images
        become tensors from -1 to 1.
    train : Samples
        The training images, of which nothing is read.

    Raises
    ------
    ConfigError, ModelError
        A setting is not for diffusion models, or the model cannot be loaded.
    """
    if config.trace.direction == "learn":
        raise ConfigError("trace.direction: images are unlearned; leave it out for task diffusion")
    if built is None:
        assert config.trained_model.path is not None
        built = load_unet(config.trained_model.path).to(device_of(config.device))
        schedule = (
            schedule_from_diffusers(config.trained_model.path)
            if config.trained_model.schedule is None
            else noise_schedule(config.trained_model.schedule)
        )
    else:
        schedule = noise_schedule(config.trained_model.schedule or ScheduleConfig())
    module, note = mirrorable(built)
    model = TrainedModel(module, preprocess or _signed_images(train), described(module), note)
    return DiffusionModel(model, schedule, config)


def noise_schedule(config: ScheduleConfig) -> NoiseSchedule:
    """Return the schedule that the settings describe."""
    if config.kind == "cosine":
        return NoiseSchedule.cosine(config.timesteps)
    if config.kind == "scaled_linear":
        return NoiseSchedule.scaled_linear(config.timesteps, config.first, config.last)
    return NoiseSchedule.linear(config.timesteps, config.first, config.last)


def load_unet(folder: Path) -> nn.Module:
    """Load the unconditional U-net of a local diffusers folder, or of the `unet` folder in it.

    Nothing is fetched, nothing is unpickled (safetensors only), no code in the folder is run.

    Raises
    ------
    ModelError
        diffusers is not installed, or the folder holds something else.
    """
    try:
        import diffusers
    except ImportError:
        raise ModelError(
            "model.path: diffusers is not installed; install it with "
            "pip install 'dataaudit[diffusers]'"
        ) from None
    inner = folder / "unet" if (folder / "unet").is_dir() else folder
    try:
        found = json.loads((inner / "config.json").read_text(encoding="utf-8")).get("_class_name")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"model.path: {inner}: its config.json cannot be read: {error}; expected a diffusers "
            "folder, as save_pretrained writes it"
        ) from None
    if found != UNET:
        raise ModelError(
            f"model.path: {inner}: holds a {found}; expected a {UNET}. For a model that is told "
            "more than image and timestep, give a factory whose module fills in the rest"
        )
    if not any(inner.glob("*.safetensors")):
        raise ModelError(
            f"model.path: {inner}: there are no .safetensors weights; other kinds are not "
            "loaded, because loading them could run code"
        )
    try:
        module = diffusers.UNet2DModel.from_pretrained(
            inner, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        )
    except Exception as error:
        # diffusers raises errors of many kinds for a folder that does not hold what it should.
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model.path: {inner}: cannot be loaded: {type(error).__name__}: {reason}"
        ) from None
    return module.float().eval()


def _signed_images(train: Samples) -> Preprocess:
    unsigned = default_preprocess(train)
    if train.modality != "image":
        return unsigned

    def preprocess(frame: pd.DataFrame) -> Tensor:
        return unsigned(frame) * 2 - 1

    return preprocess

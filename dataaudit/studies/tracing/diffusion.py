"""Trace generated images: how training images' losses change once one of them is unlearned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataaudit.datasets.samples import Batch, Samples
from dataaudit.errors import DataError, ModelError
from dataaudit.mirror.finite import Direction
from dataaudit.models.parameters import moving_parameters
from dataaudit.models.trained import TrainedModel
from dataaudit.report.data import TracedSample
from dataaudit.report.samples import plain_id
from dataaudit.scoring.passes import Passes
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.studies.tracing.denoising import Denoising
from dataaudit.studies.tracing.fisher import Fisher
from dataaudit.studies.tracing.noise import Draws, NoiseSchedule
from dataaudit.studies.tracing.pictures import picture
from dataaudit.studies.tracing.unlearn_image import Penalty, unlearn_image

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DiffusionSettings:
    """How a generated image is unlearned, and what rows are judged under.

    Attributes
    ----------
    draws : int
        Timesteps and noise draws, the same for the image, for all rows, before and after.
    penalty : bool
        Whether the Fisher information of training rows holds the step back; without, the step is
        bare ascent.
    fisher_images : int
        Training rows that the Fisher information is taken over, each under one draw of its own.
    steps : int
        Of conjugate gradients; 1 is the published single step with the diagonal.
    damping : float
        Added to the Fisher information, as a share of its diagonal's mean.
    rise : float
        How far the image's loss shall rise, to first order, as a share of it.
    batch_size : int
        Noisy images in one forward pass.
    seed : int
        Of all noise.
    """

    draws: int = 40
    penalty: bool = True
    fisher_images: int = 2048
    steps: int = 30
    damping: float = 0.1
    rise: float = 0.3
    batch_size: int = 512
    seed: int = 0


DEFAULTS = DiffusionSettings()


@dataclass(frozen=True)
class ImageUnlearning:
    """Unlearns images one by one, each from the trained model.

    Attributes
    ----------
    module : torch.nn.Module
        In eval mode; never changed.
    denoising : Denoising
        The loss, under the draws that the unlearned image and all rows share.
    parameters : dict of name to Tensor
        Those that move.
    penalty : Penalty or None
    settings : DiffusionSettings
    """

    module: nn.Module
    denoising: Denoising
    parameters: dict[str, Tensor]
    penalty: Penalty | None
    settings: DiffusionSettings

    @classmethod
    def of(
        cls,
        module: nn.Module,
        schedule: NoiseSchedule,
        images: Tensor,
        settings: DiffusionSettings = DEFAULTS,
    ) -> ImageUnlearning:
        """Prepare to unlearn: draw the noise, measure what training rows hold fast.

        Parameters
        ----------
        module : torch.nn.Module
            Of (noisy images, timesteps), returns the noise; in eval mode.
        schedule : NoiseSchedule
            The one it was trained with.
        images : `[rows, ...]`
            Training images to take the Fisher information over; the first `fisher_images` of their
            endless repetition are used.
        settings : DiffusionSettings
        """
        shape = images.shape[1:]
        draws = Draws.of(schedule, shape, settings.draws, settings.seed)
        parameters = {
            name: value.detach() for name, value in moving_parameters(module, "all").items()
        }
        penalty = None
        if settings.penalty:
            chosen = images[torch.arange(settings.fisher_images) % len(images)]
            fisher = Fisher.of(
                module, parameters, schedule, chosen, settings.seed + 1, settings.batch_size
            )
            penalty = Penalty.of(fisher, settings.damping)
        return cls(
            module,
            Denoising(schedule, draws, settings.batch_size),
            parameters,
            penalty,
            settings,
        )

    def unlearned(self, image: Tensor) -> dict[str, Tensor]:
        """Return the parameters after unlearning an image `[1, ...]`, alone."""
        return unlearn_image(
            self.module,
            self.denoising,
            self.parameters,
            image,
            self.penalty,
            self.settings.steps,
            self.settings.rise,
        )


@dataclass(frozen=True)
class DiffusionTracer:
    """Traces generated images to training images.

    Attributes
    ----------
    model : TrainedModel
        Its preprocess returns images `[rows, ...]` in the range the module was trained on.
    unlearning : ImageUnlearning
    """

    model: TrainedModel
    unlearning: ImageUnlearning

    @property
    def direction(self) -> Direction:
        """Images are unlearned: rows behind them get harder."""
        return "unlearn"

    @property
    def against_background(self) -> bool:
        """False: what a row teaches about every image is part of what this one owes it."""
        return False

    @property
    def method(self) -> str:
        """How it is done, for the report."""
        settings = self.unlearning.settings
        return (
            "Each generated image was unlearned, until its own denoising loss had risen by "
            f"{settings.rise:.0%} to first order, in the direction that the training images notice "
            f"least: by their Fisher information (over {settings.fisher_images:,} noisy training "
            f"images, {settings.steps} steps of conjugate gradients). Losses are half the squared "
            f"error of the predicted noise, in nats per pixel, over {settings.draws} timesteps "
            "with the same noise for all images, before and after."
        )

    def check(self, samples: Samples) -> None:
        """Make sure that the images have the shape that the training rows have.

        Raises
        ------
        DataError, ModelError
            They have not, or the model does not take them.
        """
        self.losses(samples, samples.take([0]), [UNPERTURBED])

    def perturb(self, samples: Samples, position: int) -> Perturbation:
        """Return the model after it has unlearned one image."""
        return Perturbation(self.unlearning.unlearned(self._images(samples, [position])))

    def losses(
        self, samples: Samples, batch: Batch, perturbations: Sequence[Perturbation]
    ) -> FloatArray:
        """Return the denoising loss of each image, `[rows, models]`, nats per pixel."""
        images = images_of(self.model, samples, batch)
        self._check_shape(images, samples)
        passes, losses = Passes(self.model.module), []
        for perturbation in perturbations:
            with passes.under(perturbation) as model:
                losses.append(self.unlearning.denoising.losses(model, images))
        found: FloatArray = torch.stack(losses, dim=1).cpu().numpy()
        finite = np.isfinite(found).all(axis=1)
        if not finite.all():
            bad = int((~finite).argmax())
            raise ModelError(
                f"{samples.role} ({samples.source.description}): row {batch.positions[bad]} (id "
                f"{batch.ids[bad]}): the model predicted NaN or infinite noise, as it is or after "
                "it unlearned an image; expected finite numbers"
            )
        return found

    def show(
        self,
        samples: Samples,
        positions: Sequence[int],
        perturbation: Perturbation | None = None,
    ) -> list[TracedSample]:
        """Return the images as the model is given them, with their losses before and after."""
        batch = samples.take(positions)
        models = [UNPERTURBED] if perturbation is None else [UNPERTURBED, perturbation]
        losses = self.losses(samples, batch, models)
        return [
            TracedSample(
                sample_id=plain_id(batch.ids[line]),
                text=None,
                image=picture(image),
                tokens=[],
                loss_before=float(losses[line, 0]),
                loss_after=None if perturbation is None else float(losses[line, 1]),
            )
            for line, image in enumerate(images_of(self.model, samples, batch))
        ]

    def _images(self, samples: Samples, positions: Sequence[int]) -> Tensor:
        images = images_of(self.model, samples, samples.take(positions))
        self._check_shape(images, samples)
        return images

    def _check_shape(self, images: Tensor, samples: Samples) -> None:
        found, expected = tuple(images.shape[1:]), tuple(self.unlearning.denoising.draws.shape)
        if found != expected:
            raise DataError(
                f"{samples.source.description}: preprocess returned images {list(found)}; the "
                f"first training row has {list(expected)}"
            )


def images_of(model: TrainedModel, samples: Samples, batch: Batch) -> Tensor:
    """Return what preprocess makes of a batch, `[rows, ...]`, checked.

    Raises
    ------
    DataError
        It fails, or returns anything but one floating tensor of images.
    """
    images = model.inputs(batch, samples)
    if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim < 2:
        found = (
            f"{images.dtype} {list(images.shape)}"
            if isinstance(images, Tensor)
            else type(images).__name__
        )
        raise DataError(
            f"{samples.source.description}: preprocess returned {found}; expected one floating "
            "tensor of images, [rows, channels, height, width]"
        )
    return images

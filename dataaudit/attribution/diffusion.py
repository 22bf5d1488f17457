"""Trace generated images: how training images' losses change once one of them is unlearned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dataaudit.attribution.denoising import Denoising
from dataaudit.attribution.fisher import Fisher
from dataaudit.attribution.noise import Draws, NoiseSchedule
from dataaudit.attribution.unlearn_image import Penalty, unlearn_image
from dataaudit.mirror.finite import moving_parameters


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
    steps: int = 20
    damping: float = 0.3
    rise: float = 0.05
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

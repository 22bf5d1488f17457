"""The denoising loss of images, under noise that they all share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dataaudit.errors import ModelError
from dataaudit.studies.tracing.noise import Draws, NoiseSchedule

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Denoising:
    """How well a model tells the noise in images: the loss it was trained with.

    Attributes
    ----------
    schedule : NoiseSchedule
    draws : Draws
        Every image is judged under each of them.
    batch_size : int
        Noisy images in one forward pass.
    """

    schedule: NoiseSchedule
    draws: Draws
    batch_size: int = 512

    def losses(self, module: Callable[..., Any], images: Tensor) -> Tensor:
        """Return each image's loss: half the squared error of the predicted noise.

        Parameters
        ----------
        module : callable
            Of noisy images `[n, ...]` and timesteps int64 `[n]`; see `predicted_noise`.
        images : `[rows, ...]`

        Returns
        -------
        float64 `[rows]`
            Mean over pixels and draws, never negative: the negative log-likelihood of the noise
            under a unit Gaussian, less its constant, in nats per pixel. Double, because what is
            looked at is a small difference.
        """
        parts = [
            (predicted_noise(module, noisy, timesteps).double() - noise).square().flatten(1).mean(1)
            for noisy, timesteps, noise in self._under_each_draw(images)
        ]
        return torch.cat(parts).view(len(images), len(self.draws)).mean(1) / 2

    def gradient(self, module: nn.Module, parameters: Tensors, images: Tensor) -> dict[str, Tensor]:
        """Return the gradient of the images' mean loss at `parameters`, one tensor for each."""
        free = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        total = {name: torch.zeros_like(value) for name, value in parameters.items()}
        for noisy, timesteps, noise in self._under_each_draw(images):
            with torch.enable_grad():
                predicted = noise_at(module, free, noisy, timesteps)
                loss = (predicted - noise).square().flatten(1).mean(1).sum() / 2
                gradients = torch.autograd.grad(loss, list(free.values()), allow_unused=True)
            for name, gradient in zip(free, gradients, strict=True):
                if gradient is not None:
                    total[name] += gradient / (len(images) * len(self.draws))
        return total

    def _under_each_draw(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield noisy images, their timesteps and their noise, the draws of an image together."""
        count = len(self.draws)
        timesteps, noise = self.draws.timesteps.to(images.device), self.draws.noise.to(images)
        for start in range(0, len(images) * count, self.batch_size):
            stop = min(start + self.batch_size, len(images) * count)
            places = torch.arange(start, stop, device=images.device)
            image, draw = places // count, places % count
            noisy = self.schedule.noisy(images[image], timesteps[draw], noise[draw])
            yield noisy, timesteps[draw], noise[draw]


def noise_at(module: nn.Module, parameters: Tensors, noisy: Tensor, timesteps: Tensor) -> Tensor:
    """Return the noise that `module` predicts with other values of some of its parameters."""
    return predicted_noise(
        lambda *inputs: functional_call(module, dict(parameters), inputs), noisy, timesteps
    )


def predicted_noise(module: Callable[..., Any], noisy: Tensor, timesteps: Tensor) -> Tensor:
    """Call the model and return the noise it predicts, in the shape of the noisy images.

    Parameters
    ----------
    module : callable
        Of (noisy images, timesteps); returns the noise, or an output that holds it as `sample` (as
        those of diffusers do) or in its first place.
    noisy : `[n, ...]`
    timesteps : int64 `[n]`

    Raises
    ------
    ModelError
        The module fails, or returns something of another shape.
    """
    try:
        result = module(noisy, timesteps)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(
            f"the model failed on noisy images {tuple(noisy.shape)} and timesteps "
            f"{tuple(timesteps.shape)}: {error}"
        ) from error
    predicted = getattr(result, "sample", result)
    if isinstance(predicted, (tuple, list)) and predicted:
        predicted = predicted[0]
    if not isinstance(predicted, Tensor):
        raise ModelError(
            f"the model returned {type(result).__name__}; expected a tensor, the predicted noise"
        )
    if predicted.shape != noisy.shape:
        raise ModelError(
            f"the model returned {tuple(predicted.shape)} for noisy images {tuple(noisy.shape)}; "
            "expected the predicted noise, in their shape"
        )
    return predicted

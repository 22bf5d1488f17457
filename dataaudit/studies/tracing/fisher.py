"""The Fisher information of a diffusion model: which changes its training rows would notice.

The predicted noise is taken for the mean of a Gaussian. Then the Fisher information and the
Gauss-Newton matrix of the denoising loss are the same up to a factor: the mean of J'J over noisy
training images, J the derivative of the predicted noise with respect to the parameters. Nothing of
its size, parameters × parameters, is ever formed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from dataaudit.studies.tracing.denoising import Tensors, noise_at
from dataaudit.studies.tracing.noise import NoiseSchedule

GRADIENT_BYTES = 1 << 27
"""What the gradients of single images that are held at once may take."""


@dataclass(frozen=True)
class Fisher:
    """The Fisher information at the trained parameters, over fixed noisy training images.

    Attributes
    ----------
    module : torch.nn.Module
        In eval mode.
    parameters : mapping of name to Tensor
        Those of the module that may move.
    noisy : `[n, ...]`
    timesteps : int64 `[n]`
    batch_size : int
        Noisy images in one forward pass.
    """

    module: nn.Module
    parameters: Tensors
    noisy: Tensor
    timesteps: Tensor
    batch_size: int = 512

    @classmethod
    def of(
        cls,
        module: nn.Module,
        parameters: Tensors,
        schedule: NoiseSchedule,
        images: Tensor,
        seed: int,
        batch_size: int = 512,
    ) -> Fisher:
        """Put one draw of noise on each of some training images, `[n, ...]`.

        The timesteps are spread evenly, in an order of their own.
        """
        generator = torch.Generator().manual_seed(seed)
        spread = (torch.arange(len(images)) + 0.5) * len(schedule) / len(images)
        order = torch.randperm(len(images), generator=generator)
        timesteps = spread.long()[order].to(images.device)
        noise = torch.randn(images.shape, generator=generator).to(images)
        fixed = {name: value.detach() for name, value in parameters.items()}
        noisy = schedule.noisy(images, timesteps, noise)
        return cls(module, fixed, noisy, timesteps, batch_size)

    def product(self, direction: Tensors) -> dict[str, Tensor]:
        """Return the Fisher information times a direction: the mean of J'J v per pixel."""
        total = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        for noisy, timesteps in self._batches(self.batch_size):
            for name, value in self._product(direction, noisy, timesteps).items():
                total[name] += value
        return {name: value / self.noisy.numel() for name, value in total.items()}

    def _product(self, direction: Tensors, noisy: Tensor, timesteps: Tensor) -> dict[str, Tensor]:
        free = {name: value.detach().requires_grad_() for name, value in self.parameters.items()}
        values = list(free.values())
        with torch.enable_grad(), _differentiable_attention():
            predicted = noise_at(self.module, free, noisy, timesteps)
            # J'u is linear in u, and its derivative in the direction v is J v. Forward mode would
            # give J v at once, but the attention of diffusers has none.
            free_noise = torch.zeros_like(predicted, requires_grad=True)
            back = _gradients(predicted, values, free_noise, create_graph=True)
            along = [(part * direction[name]).sum() for name, part in zip(free, back, strict=True)]
            (change,) = _gradients(torch.stack(along).sum(), [free_noise], None)
            product = _gradients(predicted, values, change)
        return dict(zip(free, product, strict=True))

    @torch.no_grad()
    def diagonal(self, seed: int = 0) -> dict[str, Tensor]:
        """Estimate the diagonal: the mean squared gradient under noise drawn from the model.

        Each image's predicted noise is set against a draw from the Gaussian around it; the
        gradient of its log-likelihood is then J'r, r standard normal. (With the noise that was
        really put on it would be the "empirical Fisher", in which badly predicted images weigh
        more.)
        """
        size = sum(value.numel() * value.element_size() for value in self.parameters.values())
        at_once = max(1, min(self.batch_size, GRADIENT_BYTES // max(size, 1)))
        generator = torch.Generator().manual_seed(seed)
        total = {name: torch.zeros_like(value) for name, value in self.parameters.items()}

        def gradient(noisy: Tensor, timestep: Tensor, residual: Tensor) -> Tensors:
            back = vjp(
                lambda values: noise_at(self.module, values, noisy[None], timestep[None]),
                dict(self.parameters),
            )[1]
            gradient: Tensors = back(residual[None])[0]
            return gradient

        with _differentiable_attention():
            for noisy, timesteps in self._batches(at_once):
                residuals = torch.randn(noisy.shape, generator=generator).to(noisy)
                for name, value in vmap(gradient)(noisy, timesteps, residuals).items():
                    total[name] += value.square().sum(0)
        return {name: value / self.noisy.numel() for name, value in total.items()}

    def _batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.noisy), size):
            part = slice(start, start + size)
            yield self.noisy[part], self.timesteps[part]


def _differentiable_attention() -> AbstractContextManager[None]:
    # The fused kernels of attention have no derivative of their derivative.
    kernel: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return kernel


def _gradients(
    outputs: Tensor, inputs: Sequence[Tensor], weights: Tensor | None, create_graph: bool = False
) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        outputs,
        inputs,
        weights,
        retain_graph=True,
        create_graph=create_graph,
        materialize_grads=True,
    )

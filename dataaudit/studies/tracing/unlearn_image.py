"""Unlearn a generated image: ascend its denoising loss where the training rows do not mind.

Wang et al., "Data attribution for text-to-image models by unlearning synthesized images" (NeurIPS
2024): a bare step of ascent spoils what all images have in common, and the rows behind the image
do not stand out; a penalty by the Fisher information of the training rows (elastic weight
consolidation) keeps that. They take one step with its diagonal. More steps of conjugate gradients
take the whole of it into account.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dataaudit.studies.tracing.denoising import Denoising, Tensors
from dataaudit.studies.tracing.fisher import Fisher


@dataclass(frozen=True)
class Penalty:
    """What the training rows hold against a change of the parameters.

    Attributes
    ----------
    fisher : Fisher
    diagonal : mapping of name to Tensor
        Its diagonal, damping included.
    damping : float
        Added to every element of the diagonal.
    """

    fisher: Fisher
    diagonal: Tensors
    damping: float

    @classmethod
    def of(cls, fisher: Fisher, damping: float) -> Penalty:
        """Return the penalty; `damping` is a share of the diagonal's mean."""
        diagonal = fisher.diagonal()
        values = sum(float(value.sum(dtype=torch.float64)) for value in diagonal.values())
        added = damping * values / sum(value.numel() for value in diagonal.values())
        return cls(fisher, {name: value + added for name, value in diagonal.items()}, added)

    def product(self, direction: Tensors) -> dict[str, Tensor]:
        """Return the damped Fisher information times a direction."""
        product = self.fisher.product(direction)
        return {name: product[name] + self.damping * value for name, value in direction.items()}


@torch.no_grad()
def unlearn_image(
    module: nn.Module,
    denoising: Denoising,
    parameters: Tensors,
    image: Tensor,
    penalty: Penalty | None,
    steps: int,
    rise: float,
) -> dict[str, Tensor]:
    """Return the parameters after unlearning one image.

    The change s is the maximum of g·s - s·F s / (2 a), where g is the gradient of the image's loss
    and F the damped Fisher information: s = a F⁻¹ g. Conjugate gradients approach it, started from
    0 and preconditioned with the diagonal of F. The factor a is such that g·s is the rise asked
    for, so that images are unlearned equally far.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode; not changed.
    denoising : Denoising
        The image is unlearned under its draws.
    parameters : mapping of name to Tensor
        The trained values of those that may move.
    image : `[1, ...]`
    penalty : Penalty or None
        None takes a bare step of ascent.
    steps : int
        Of conjugate gradients; with 1 the change is a g / diagonal of F, the published step.
    rise : float
        How far the image's loss shall rise, to first order, as a share of it.

    Returns
    -------
    dict of name to Tensor
        New values of `parameters`.
    """
    gradient = denoising.gradient(module, parameters, image)
    change: Tensors = gradient
    if penalty is not None:
        change = conjugate_gradients(penalty, gradient, steps)
    slope = _dot(gradient, change)
    if slope == 0:
        return {name: value.detach() for name, value in parameters.items()}
    before = float(denoising.losses(lambda *inputs: module(*inputs), image).mean())
    length = rise * before / slope
    return {name: value.detach() + length * change[name] for name, value in parameters.items()}


def conjugate_gradients(penalty: Penalty, gradient: Tensors, steps: int) -> dict[str, Tensor]:
    """Approach F⁻¹ g by preconditioned conjugate gradients (Hestenes and Stiefel, 1952).

    Parameters
    ----------
    penalty : Penalty
        F, and the diagonal to precondition with.
    gradient : mapping of name to Tensor
    steps : int
        At least 1; the result of 1 is a multiple of gradient / diagonal.

    Returns
    -------
    dict of name to Tensor
    """
    solution = {name: torch.zeros_like(value) for name, value in gradient.items()}
    residual = dict(gradient)
    scaled = {name: value / penalty.diagonal[name] for name, value in residual.items()}
    direction, size = scaled, _dot(residual, scaled)
    for _ in range(steps):
        if size == 0:
            break
        product = penalty.product(direction)
        length = size / _dot(direction, product)
        solution = {name: value + length * direction[name] for name, value in solution.items()}
        residual = {name: value - length * product[name] for name, value in residual.items()}
        scaled = {name: value / penalty.diagonal[name] for name, value in residual.items()}
        last, size = size, _dot(residual, scaled)
        direction = {name: value + size / last * direction[name] for name, value in scaled.items()}
    return solution


def _dot(first: Tensors, second: Tensors) -> float:
    # In double: with many parameters a sum in single precision would lose the small ones.
    return sum(
        float(torch.dot(value.flatten().double(), second[name].flatten().double()))
        for name, value in first.items()
    )

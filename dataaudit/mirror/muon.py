"""Muon: steps for matrices that move all of their directions alike.

The optimizer of Keller Jordan ("Muon: an optimizer for hidden layers in neural networks", 2024),
as `torch.optim.Muon` has it since torch 2.9, and three things beside: convolutions (a matrix with
a row for each output channel), float32, and the iteration on the smaller side alone, which costs
less for the wide matrices of convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
WEIGHT_DECAY = 0.01
ITERATIONS = 5
COEFFICIENTS = 3.4445, -4.7750, 2.0315
SMALLEST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Gradient descent with Nesterov momentum along orthogonalized directions.

    Parameters
    ----------
    parameters : sequence of Tensor
        Of at least two dimensions; all but the first make up a matrix's columns.
    lr : float
        What a step adds to each singular direction of a matrix that is no taller than wide. Of
        taller ones it is `lr` times the square root of height by width.
    """

    def __init__(self, parameters: Sequence[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take a step along the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group["lr"])

    def _move(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        matrix = gradient.lerp(momentum, MOMENTUM).flatten(1)
        height, width = matrix.shape
        direction = orthogonalized(matrix).reshape(parameter.shape)
        parameter.mul_(1 - rate * WEIGHT_DECAY)
        parameter.add_(direction, alpha=-rate * max(1.0, height / width) ** 0.5)


def orthogonalized(matrix: Tensor) -> Tensor:
    """Return a matrix with the same singular vectors and singular values of about 1, same shape.

    Newton-Schulz iterations with Jordan's coefficients bring what is not tiny beside the largest
    to between .68 and 1.14. Each multiplies by a polynomial of the matrix times its transpose;
    these polynomials commute, so that all of them are taken together on the smaller side.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = (wide / (wide.norm() + SMALLEST_NORM)).float()
    first = wide @ wide.T
    a, b, c = COEFFICIENTS
    # The first iteration is that of the identity, by which nothing needs to be multiplied.
    product = a * torch.eye(len(first), dtype=first.dtype, device=first.device)
    product += b * first + c * (first @ first)
    for _ in range(ITERATIONS - 1):
        # Not the product's square times the first: rounding would grow to a percent.
        square = product @ first @ product
        product = (a * product) + (b * square + c * (square @ square)) @ product
    found = (product @ wide).to(matrix.dtype)
    return found if matrix.shape[0] <= matrix.shape[1] else found.T


def hidden_matrices(module: nn.Module, moving: Mapping[str, nn.Parameter]) -> list[nn.Parameter]:
    """Return which of the moving parameters Muon is made for.

    Matrices, but for embeddings, whose rows are moved one by one, and the last one, whose rows are
    the classes.
    """
    embeddings = {
        id(part.weight)
        for part in module.modules()
        if isinstance(part, nn.Embedding | nn.EmbeddingBag)
    }
    matrices = [
        value for value in moving.values() if value.ndim >= 2 and id(value) not in embeddings
    ]
    return matrices[:-1]

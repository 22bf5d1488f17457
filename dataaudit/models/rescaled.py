"""Regression models in natural units: the same function, its last layer rewritten.

Fresh weights and learning rates suit outputs around 0 of size 1. A model that predicts house
prices has a last layer thousands of times larger, and no short mirror would move it anywhere. So
the last linear layer is divided by the targets' scale, and the division undone behind it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataaudit.datasets.samples import Samples
from dataaudit.models.outputs import Around
from dataaudit.models.trained import TrainedModel, forward, output_tensor

ROWS_COMPARED = 64
TOLERANCE = 1e-4
"""Largest difference that rewriting may make, in units of the targets' scale."""


class Rescaled(Around):
    """Outputs of `inner`, times a scale, plus a centre; its parameters keep their names."""

    def __init__(self, inner: nn.Module, center: float, scale: float) -> None:
        super().__init__(inner)
        self._center, self._scale = center, scale

    def forward(self, *arguments: Any, **named: Any) -> Tensor:
        """Return the outputs in the targets' unit, in at least float32."""
        values = output_tensor(self.inner(*arguments, **named))
        values = values if values.dtype == torch.float64 else values.float()
        return values * self._scale + self._center


def rescaled(model: TrainedModel, train: Samples) -> TrainedModel:
    """Return the same model with a last linear layer in units of the targets' scale.

    A model whose outputs are not just its last linear layer's is returned as it is.

    Parameters
    ----------
    model : TrainedModel
    train : Samples
        With regression targets.
    """
    center, scale = _center_and_scale(train.labels)
    inner = copy.deepcopy(model.module)
    linear = [part for part in inner.modules() if isinstance(part, nn.Linear)]
    if not linear or linear[-1].out_features != 1 or linear[-1].bias is None:
        return model
    with torch.no_grad():
        linear[-1].weight.div_(scale)
        linear[-1].bias.sub_(center).div_(scale)
    if linear[-1] is inner:
        # Of a model that is one layer: what looks for its last layer looks among parts.
        inner = nn.Sequential(OrderedDict(inner=inner))
    module = Rescaled(inner, center, scale).to(model.device).eval()
    inputs = model.inputs(train.take(range(min(ROWS_COMPARED, len(train)))), train)
    with torch.inference_mode():
        before, after = forward(model.module, inputs), forward(module, inputs)
    if not bool(((after - before).abs() <= TOLERANCE * scale).all()):
        return model
    return replace(model, module=module, original_sha256=model.sha256())


def _center_and_scale(targets: NDArray[np.float64]) -> tuple[float, float]:
    """Return median and scale; by quartiles, so that a few absurd targets do not set them."""
    low, center, high = np.quantile(targets, [0.25, 0.5, 0.75])
    scale = (high - low) / 1.349 or float(np.std(targets)) or 1.0
    return float(center), float(scale)

"""The forward loop: inputs of rows through a model and through perturbed versions of it.

All that asks how rows fare under perturbed models asks here, whatever the task, so that how the
passes are computed (`precision`, `compile`) is decided in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dataaudit.models.numerics import EXACT, Numerics
from dataaudit.models.trained import Inputs, forward, map_tensors
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.scoring.swap import Swapper
from dataaudit.tasks import Task

ITSELF = (UNPERTURBED,)


class Passes:
    """Runs a module, and perturbed versions of it.

    Not for two threads at once: the values of a perturbation are put into the module itself.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode; as it was after every call.
    numerics : Numerics
    """

    def __init__(self, module: nn.Module, numerics: Numerics = EXACT) -> None:
        self.module = module
        self.device = next((p.device for p in module.parameters()), torch.device("cpu"))
        self._run = numerics.runnable(module)
        self._numerics = numerics
        self._swapper = Swapper(module)

    @contextmanager
    def under(self, perturbation: Perturbation) -> Iterator[Callable[..., Any]]:
        """Give what to call as the perturbed model, inside the `with` block."""
        with (
            torch.inference_mode(),
            self._numerics.autocast(self.device),
            self._swapper.holding(perturbation.tensors),
        ):
            yield self._run

    def outputs(
        self, inputs: Inputs, perturbations: Sequence[Perturbation] = ITSELF
    ) -> Iterator[Tensor]:
        """Yield the outputs of each perturbed model, one in memory at a time."""
        for perturbation in perturbations:
            seen = map_tensors(mirrored, inputs) if perturbation.flip else inputs
            with self.under(perturbation) as model:
                found = forward(model, seen)
            yield found

    def losses(
        self,
        task: Task,
        inputs: Inputs,
        labels: Tensor,
        perturbations: Sequence[Perturbation] = ITSELF,
    ) -> Tensor:
        """Return the loss of each row under each perturbed model, double `[rows, models]`, nats."""
        shape = len(labels), len(perturbations)
        # Double, because what is looked at is a small difference of two losses.
        found = torch.empty(shape, dtype=torch.float64, device=labels.device)
        with torch.inference_mode():
            for column, output in enumerate(self.outputs(inputs, perturbations)):
                found[:, column] = task.losses(output.double(), labels)
        return found


def mirrored(images: Tensor) -> Tensor:
    """Mirror images left to right."""
    return images.flip(-1)

"""The tail: the last layers of a model, and groups that differ in nothing else.

Everything before the tail is the same for the trained model and for every group's. One forward
pass through the model catches the tail's inputs, the features; groups then need the tail alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dataaudit.models.numerics import EXACT, Numerics
from dataaudit.models.tail import Tail
from dataaudit.models.trained import Inputs
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.studies.influence.mirrored import FiniteGroups
from dataaudit.tasks import Task


class TailGroups:
    """Groups that differ in the last layers, whatever those are; see `Mirrored`.

    Parameters
    ----------
    tail : Tail
    task : Task
    perturbations : sequence of Perturbation
        Of the last layers.
    numerics : Numerics
    """

    def __init__(
        self,
        tail: Tail,
        task: Task,
        perturbations: Sequence[Perturbation],
        numerics: Numerics = EXACT,
    ) -> None:
        self._tail, self._task, self._numerics = tail, task, numerics
        self._groups = FiniteGroups(tail.layers, task, perturbations)

    @torch.inference_mode()
    def changes(
        self, inputs: Inputs, labels: Tensor, losses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one forward pass, then the last layers for each group; see `Mirrored`."""
        features, _ = self._tail.run(inputs, self._numerics)
        return self._groups.changes(features, labels)

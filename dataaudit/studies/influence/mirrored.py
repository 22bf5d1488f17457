"""Query groups that are ready to meet rows: what all mirrors have in common, and the finite one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from dataaudit.models.numerics import EXACT, Numerics
from dataaudit.models.trained import Inputs
from dataaudit.scoring.passes import ITSELF, Passes
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.tasks import Task


class Mirrored(Protocol):
    """Some query groups, each of which has perturbed the model in its own way."""

    def changes(
        self, inputs: Inputs, labels: Tensor, losses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what the groups do to the losses of some rows.

        Parameters
        ----------
        inputs : Inputs
            Of the module; first dimension = rows.
        labels : Tensor
            As the task takes them.
        losses : `[rows]` or None
            The rows' losses under the trained model, where they are known.

        Returns
        -------
        losses : `[rows]`
            Under the trained model, nats.
        changes : `[rows, groups]`
            Loss under the perturbed model minus loss under the trained one, nats. Positive where
            the group learned: learning it makes the row's label less plausible.
        """
        ...


class FiniteGroups:
    """Groups whose perturbed models are run one after the other on a loaded batch.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode.
    task : Task
    perturbations : sequence of Perturbation
        One for each group.
    numerics : Numerics
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        perturbations: Sequence[Perturbation],
        numerics: Numerics = EXACT,
    ) -> None:
        self._passes = Passes(module, numerics)
        self._task, self._perturbations = task, perturbations

    def changes(
        self, inputs: Inputs, labels: Tensor, losses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one forward pass for each group; see `Mirrored`."""
        if losses is None:
            losses = self._passes.losses(self._task, inputs, labels, ITSELF)[:, 0]
        found = self._passes.losses(self._task, inputs, labels, self._perturbations)
        return losses, found - losses[:, None]

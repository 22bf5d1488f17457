"""From query groups to mirrors that are ready to meet rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, ModelError
from dataaudit.mirror.finite import Part, finite_mirror
from dataaudit.models.numerics import Numerics
from dataaudit.models.parameters import moving_parameters
from dataaudit.models.tail import Tail, find_tail
from dataaudit.models.trained import TrainedModel
from dataaudit.studies.influence.groups import QueryGroup, QueryReader, drawn
from dataaudit.studies.influence.head import (
    FirstOrderHeadGroups,
    HeadGroups,
    learned_heads,
    losses_and_residuals,
)
from dataaudit.studies.influence.linear import linear_groups, step_direction
from dataaudit.studies.influence.mirrored import FiniteGroups, Mirrored
from dataaudit.studies.influence.settings import InfluenceSettings, Kind
from dataaudit.studies.influence.tail_groups import TailGroups
from dataaudit.tasks import Task

QUERIES_PER_FORWARD = 256


@dataclass(frozen=True)
class Maker:
    """Makes groups ready: takes the query steps of one kind of mirror.

    Attributes
    ----------
    model : TrainedModel
    task : Task
    queries : Samples
    settings : InfluenceSettings
    kind : "finite", "linear" or "head"
    numerics : Numerics
    trial : Part
        Inputs and labels of some rows, to check the model on.
    """

    model: TrainedModel
    task: Task
    queries: Samples
    settings: InfluenceSettings
    kind: Kind
    numerics: Numerics
    trial: Part

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises
        ------
        ConfigError, ModelError
            The mirror cannot be used with these settings, or with this model.
        """
        if self.kind == "linear" and self.numerics.precision != "float32":
            raise ConfigError(
                "precision: bfloat16 does not go with mirror.kind: linear, whose scores are exact; "
                "use float32"
            )
        if self.kind != "finite" and self.numerics.compiled:
            raise ConfigError(
                f"compile: does not go with mirror.kind: {self.kind}, which watches single layers; "
                "use finite, or leave it out"
            )
        # Refused here where nothing may move.
        self.moving()

    def tail(self) -> Tail:
        """Return the last layers that `head` moves."""
        return find_tail(self.model.module, self.trial[0], self.settings.layers)

    def moving(self) -> int:
        """Return how many parameters move for each group."""
        if self.kind == "head":
            moving = moving_parameters(self.tail().layers, "all")
        else:
            moving = moving_parameters(self.model.module, self.settings.parameters)
        return sum(value.numel() for value in moving.values())

    def ready(self, groups: Sequence[QueryGroup]) -> Mirrored:
        """Take the steps of some groups."""
        reader = QueryReader(self.model, self.queries, groups)
        if self.kind == "head":
            return self._heads(reader, groups)
        size, seed = self.settings.batch_size, self.settings.seed
        module, steps = self.model.module, self.settings.finite()
        if self.kind == "linear":
            directions = [
                step_direction(module, self.task, reader.steps(group, size, seed), steps)
                for group in groups
            ]
            return linear_groups(module, self.task, directions, self.trial)
        perturbations = [
            finite_mirror(module, self.task, reader.steps(group, size, seed), steps, shown=False)
            for group in groups
        ]
        return FiniteGroups(module, self.task, perturbations, self.numerics)

    def _heads(self, reader: QueryReader, groups: Sequence[QueryGroup]) -> Mirrored:
        tail, settings = self.tail(), self.settings.finite()
        features, outputs, labels = self._features(tail, reader, groups)
        steps = self._lines(groups)
        layer = tail.layers
        if not (isinstance(layer, nn.Linear) and features.ndim == 2):
            if self.settings.first_order:
                raise ModelError(
                    f"mirror.first_order: {tail.name} is not one linear layer on one vector a row; "
                    "leave it out, or use kind: linear"
                )
            perturbations = [
                finite_mirror(
                    layer,
                    self.task,
                    ([(features[lines], labels[lines])] for lines in drawn_lines),
                    settings,
                    shown=False,
                )
                for drawn_lines in steps
            ]
            return TailGroups(tail, self.task, perturbations, self.numerics)
        if self.settings.first_order:
            _, residuals = losses_and_residuals(self.task, outputs, labels)
            first = [next(lines) for lines in steps]
            return FirstOrderHeadGroups(
                tail, self.task, features, residuals, first, settings, self.numerics
            )
        together = ([next(lines) for lines in steps] for _ in range(settings.steps))
        heads = learned_heads(layer, self.task, features, labels, together, len(groups), settings)
        alone = settings.optimizer == "sgd" and len(features) == len(groups)
        learned = features if alone else None
        return HeadGroups(tail, self.task, heads, self.numerics, learned)

    def _lines(self, groups: Sequence[QueryGroup]) -> list[Iterator[Tensor]]:
        """Return for each group which lines of the features its steps learn."""
        bounds = np.cumsum([0, *(len(group.positions) for group in groups)])
        size, seed = self.settings.batch_size, self.settings.seed

        def lines(group: QueryGroup, start: int) -> Iterator[Tensor]:
            for chosen in drawn(group, size, seed):
                yield torch.as_tensor(start + chosen, device=self.model.device)

        return [lines(group, int(start)) for group, start in zip(groups, bounds[:-1], strict=True)]

    @torch.no_grad()
    def _features(
        self, tail: Tail, reader: QueryReader, groups: Sequence[QueryGroup]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return features, outputs and labels of all groups' queries, one group after the other."""
        positions = np.concatenate([group.positions for group in groups])
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for start in range(0, len(positions), QUERIES_PER_FORWARD):
            inputs, labels = reader.part(positions[start : start + QUERIES_PER_FORWARD])
            features, outputs = tail.run(inputs)
            found.append((features, outputs, labels))
        if len({part.shape[1:] for part, _, _ in found}) > 1:
            raise ModelError(
                f"mirror.kind: head: {tail.name} is given inputs of several shapes, such as texts "
                "of several lengths; use finite"
            )
        features, outputs, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        return features, outputs, labels

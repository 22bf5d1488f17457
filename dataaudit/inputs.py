"""What an audit works on, opened and checked: the model and its splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from dataaudit.datasets.samples import Role, Samples
from dataaudit.datasets.set_aside import SetAside
from dataaudit.models.trained import TrainedModel
from dataaudit.tasks import AuditTask, Task


class AuditInputs(Protocol):
    """What any audit works on, whatever its task; see `Loaded`."""

    @property
    def model(self) -> TrainedModel: ...  # noqa: D102

    @property
    def train(self) -> Samples: ...  # noqa: D102

    @property
    def held_out(self) -> Samples | None: ...  # noqa: D102

    @property
    def suspects(self) -> Samples | None: ...  # noqa: D102

    @property
    def set_aside(self) -> Mapping[Role, SetAside]: ...  # noqa: D102


@dataclass(frozen=True)
class Loaded:
    """What an audit works on.

    Attributes
    ----------
    model : TrainedModel
        In eval mode, on the device asked for.
    task : AuditTask
    train : Samples
    held_out, suspects : Samples or None
    set_aside : mapping of role to SetAside
        The rows that none of these hold, because they cannot be used.
    learning_task : Task or None
        What the mirror learns by, where that is not `task`: weighted classes, smoothed labels.
    """

    model: TrainedModel
    task: AuditTask
    train: Samples
    held_out: Samples | None
    suspects: Samples | None
    set_aside: dict[Role, SetAside]
    learning_task: Task | None = None

    def quick_to_take(self, folder: Path) -> Loaded:
        """Return the same, with splits whose rows are quick to take at random.

        Parameters
        ----------
        folder : Path
            For files of the rows, where a format allows no such access.
        """
        return replace(
            self,
            train=self.train.quick_to_take(folder),
            held_out=self.held_out and self.held_out.quick_to_take(folder),
            suspects=self.suspects and self.suspects.quick_to_take(folder),
        )

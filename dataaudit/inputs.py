"""What an audit works on, opened and checked: the model and its splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataaudit.datasets.samples import Role, Samples
from dataaudit.datasets.set_aside import SetAside
from dataaudit.models.trained import TrainedModel
from dataaudit.tasks import AuditTask, Task

Given = TypeVar("Given", "Files", "Loaded")


class Splits(Protocol):
    """The data that an audit works on."""

    @property
    def train(self) -> Samples: ...  # noqa: D102

    @property
    def held_out(self) -> Samples | None: ...  # noqa: D102

    @property
    def suspects(self) -> Samples | None: ...  # noqa: D102


class AuditInputs(Splits, Protocol):
    """What any audit works on, whatever its task; see `Loaded` and `Files`."""

    @property
    def model(self) -> TrainedModel | None: ...  # noqa: D102

    @property
    def set_aside(self) -> Mapping[Role, SetAside]: ...  # noqa: D102


@dataclass(frozen=True)
class ModelCheck:
    """How right the model is on samples that are looked at before anything else, against chance.

    Whether model, classes and samples belong together shows here: a model whose classes stand in
    another order, or whose weights were forgotten, is no better than chance, or worse.

    Attributes
    ----------
    measure : str
        What is measured: "accuracy", "share of labels right", "share of tags right" (from 0 to 1),
        or "share of variance explained" (at most 1, below 0 where the mean would be better).
    accuracy_train : float
        On training rows, under the labels they have.
    accuracy_trusted : float or None
        On trusted samples; None where there are none.
    chance : float
        What the same predictions would reach if they were dealt out at random; of the trusted
        samples, or of the training rows where there are none. For a share of variance 0.
    train_rows, trusted_rows : int
        Rows that were looked at.
    against_chance : "below", "near" or "above"
        Clearly below, clearly above, or neither; of the same samples as `chance`.
    outputs : str
        What the model's outputs are read as, in words; empty for a regression.
    stand_in : float or None
        Where a network stands in for an estimator: the share of these rows that both put into the
        same class, or the share of the variance of its predictions that the network explains.
    held_out_in_train : int
        Trusted samples whose content is that of a training row.
    held_out_rows : int
        Trusted samples that were given, those set aside as copies of training rows included.
    train_repeats : float or None
        Share of training rows whose content is that of another training row: where rows repeat
        each other by nature, trusted samples repeat them, too.
    """

    measure: str
    accuracy_train: float
    accuracy_trusted: float | None
    chance: float
    train_rows: int
    trusted_rows: int
    against_chance: Literal["below", "near", "above"]
    outputs: str
    stand_in: float | None
    held_out_in_train: int
    held_out_rows: int
    train_repeats: float | None


@dataclass(frozen=True)
class Files:
    """What an audit without a model works on.

    Attributes
    ----------
    train : Samples
    held_out, suspects : Samples or None
    set_aside : mapping of role to SetAside
        Empty: rows that cannot be used are reported, not set aside.
    benchmarks : mapping of name to Samples
        Named sets of texts that must not be in the training texts.
    benchmark_scores : mapping of name to float64 `[texts]`
        What a model scored on each text of these sets, higher = better, where it is given.
    """

    train: Samples
    held_out: Samples | None
    suspects: Samples | None
    set_aside: dict[Role, SetAside] = field(default_factory=dict)
    benchmarks: dict[str, Samples] = field(default_factory=dict)
    benchmark_scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    model: None = None

    def quick_to_take(self, folder: Path) -> Files:
        """Return the same, with splits whose rows are quick to take at random; see `Loaded`."""
        return _quick_to_take(self, folder)


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
    check : ModelCheck or None
        What was found before anything else; None where nothing is trusted (studies).
    """

    model: TrainedModel
    task: AuditTask
    train: Samples
    held_out: Samples | None
    suspects: Samples | None
    set_aside: dict[Role, SetAside]
    learning_task: Task | None = None
    check: ModelCheck | None = None

    def quick_to_take(self, folder: Path) -> Loaded:
        """Return the same, with splits whose rows are quick to take at random.

        Parameters
        ----------
        folder : Path
            For files of the rows, where a format allows no such access.
        """
        return _quick_to_take(self, folder)


def _quick_to_take(inputs: Given, folder: Path) -> Given:
    return replace(
        inputs,
        train=inputs.train.quick_to_take(folder),
        held_out=inputs.held_out and inputs.held_out.quick_to_take(folder),
        suspects=inputs.suspects and inputs.suspects.quick_to_take(folder),
    )

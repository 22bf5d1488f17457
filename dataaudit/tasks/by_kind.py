"""The task of each kind of label, made from what the model returns for some rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from dataaudit.tasks.boxes import Detection
from dataaudit.tasks.classification import Classification
from dataaudit.tasks.instruction import Instruction
from dataaudit.tasks.multi_label import MultiLabel
from dataaudit.tasks.ordinal import OrdinalClassification
from dataaudit.tasks.preference import Preference
from dataaudit.tasks.regression import Regression, RegressionLoss
from dataaudit.tasks.segmentation import Segmentation
from dataaudit.tasks.task import AuditTask, Task
from dataaudit.tasks.token_classification import TokenClassification
from dataaudit.tasks.weighted import (
    WeightedClassification,
    WeightedMultiLabel,
    WeightedSegmentation,
    WeightedTokenClassification,
)


@dataclass(frozen=True)
class TrainedWith:
    """The loss that the model was trained with.

    Attributes
    ----------
    residual : "squared", "absolute" or "huber"
        Of regressions.
    class_weights : tuple of float, length C, or None
        In the order of the classes.
    label_smoothing : float
        0 to 1.
    """

    residual: RegressionLoss = "squared"
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    @property
    def weighs(self) -> bool:
        """Whether it is another loss than the reported one."""
        return self.class_weights is not None or self.label_smoothing > 0


@dataclass(frozen=True)
class Outputs:
    """What a model returns for some rows, and what it is to speak of.

    Attributes
    ----------
    values : Tensor
    classes : int
        C; 0 where labels are no classes.
    width : int
        Labels of a row, where they have a second dimension: tokens of the longest row, say.
    labels : Tensor or None
        Of these rows; with them, kinds of outputs that look alike are told apart.
    """

    values: Tensor
    classes: int
    width: int
    labels: Tensor | None


Maker = Callable[[Outputs, TrainedWith], tuple[AuditTask, Task | None]]
"""Returns the task, and what the mirror learns by where that can be another one; a `ModelError`
says how outputs do not fit."""


def _classification(outputs: Outputs, loss: TrainedWith) -> tuple[AuditTask, Task | None]:
    task = Classification.of(outputs.values, outputs.classes, outputs.labels)
    return task, WeightedClassification(task, loss.class_weights, loss.label_smoothing)


def _ordinal(outputs: Outputs, loss: TrainedWith) -> tuple[AuditTask, Task | None]:
    task = OrdinalClassification.of(outputs.values, outputs.classes, outputs.labels)
    return task, WeightedClassification(task, loss.class_weights, loss.label_smoothing)


def _regression(outputs: Outputs, loss: TrainedWith) -> tuple[AuditTask, Task | None]:
    return Regression.of(outputs.values, loss.residual), None


def _multi_label(outputs: Outputs, loss: TrainedWith) -> tuple[AuditTask, Task | None]:
    task = MultiLabel.of(outputs.values, outputs.classes, outputs.labels)
    return task, WeightedMultiLabel(task, loss.class_weights, loss.label_smoothing)


def _tokens(outputs: Outputs, loss: TrainedWith) -> tuple[AuditTask, Task | None]:
    task = TokenClassification.of(outputs.values, outputs.classes, outputs.width, outputs.labels)
    return task, WeightedTokenClassification(task, loss.class_weights, loss.label_smoothing)


def _masks(outputs: Outputs, loss: TrainedWith) -> tuple[AuditTask, Task | None]:
    task = Segmentation.of(outputs.values, outputs.classes, outputs.labels)
    return task, WeightedSegmentation(task, loss.class_weights, loss.label_smoothing)


def _preference(outputs: Outputs, loss: TrainedWith) -> tuple[AuditTask, Task | None]:
    task = Preference.of(outputs.values, outputs.classes)
    return task, WeightedClassification(task, None, loss.label_smoothing)


MAKERS: Mapping[str, Maker] = {
    "classification": _classification,
    "ordinal": _ordinal,
    "regression": _regression,
    "multi-label": _multi_label,
    "token-classification": _tokens,
    "boxes": lambda outputs, _: (Detection.of(outputs.values, outputs.classes), None),
    "segmentation": _masks,
    "preference": _preference,
    "instruction": lambda outputs, _: (Instruction.of(outputs.values), None),
}
"""By `task`, as audit.yaml has it."""


def make_task(name: str, outputs: Outputs, loss: TrainedWith) -> tuple[AuditTask, Task | None]:
    """Return the task, and what the mirror learns by where that is another one.

    Parameters
    ----------
    name : str
        As audit.yaml has it.
    outputs, loss

    Raises
    ------
    ModelError
        The outputs are not what the task needs.
    """
    task, learned_by = MAKERS[name](outputs, loss)
    return task, learned_by if loss.weighs else None

"""What mirrors, engines and audits need to know of a task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Predictions = NDArray[np.floating]
"""`[rows, width]`: what a task makes of a model's outputs."""

SLIPS = 0.5
"""Share of the planted errors of tags and sets that do not depend on what the model confuses."""

Choices = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Predicted and given classes, equally many."""


class Task(Protocol):
    """What a model's outputs mean. Everything the mirrors and engines need of it."""

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row in nats, `[rows]`, differentiable, in at least float32."""
        ...

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return what the flags are made from, `[rows, width]`; for classes, probabilities."""
        ...


@runtime_checkable
class SaysOfLabels(Protocol):
    """A task whose outputs are too large to be held: what they say of given labels is held."""

    def said_of(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return what takes the place of `Task.predictions`, `[rows, width]`."""
        ...


def predictions_of(task: Task, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return what the flags are made from, `[rows, width]`, of rows under given labels."""
    if isinstance(task, SaysOfLabels):
        return task.said_of(outputs, labels)
    return task.predictions(outputs)


class AuditTask(Task, Protocol):
    """A task whose labels can be audited: what a wrong label is like, what a right answer is."""

    @property
    def reading(self) -> str:
        """What the outputs are read as, in words; empty where there is nothing to read."""
        ...

    def answers(self, predictions: Predictions) -> NDArray[Any]:
        """Return the labels that the model would give, as `metric` takes labels."""
        ...

    def choices(self, answers: NDArray[Any], labels: NDArray[Any]) -> Iterator[Choices]:
        """Yield answers and labels as classes, those of each label of a set apart.

        Parameters
        ----------
        answers : from `answers`
        labels : as `metric` takes them
        """
        ...

    @property
    def metric_name(self) -> str:
        """The name of the metric that leaks flatter, for example "accuracy"."""
        ...

    def metric(self, predictions: Predictions, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Return how right each prediction is, `[rows]`, higher = better; their mean is the metric.

        Parameters
        ----------
        predictions : `[rows, width]`
            As `predictions` returns them.
        labels : `[rows]`, of several labels for each row `[rows, L]`
        """
        ...

    def wrong_labels(
        self, predictions: Predictions, labels: NDArray[Any], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Return a wrong label for every row, such as people or programs put there by mistake.

        Parameters
        ----------
        predictions : `[rows, width]`
            Of the trained model, which tells what is easily confused.
        labels : as `metric` takes them
            Right ones.
        generator : numpy.random.Generator
        """
        ...

    def guessing_loss(self, labels: NDArray[Any]) -> float:
        """Return the mean loss in nats of the best guess that knows the labels' shares only."""
        ...

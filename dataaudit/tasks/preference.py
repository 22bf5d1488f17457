"""Preferences: which of two answers is better, by the difference of their rewards."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dataaudit.tasks.classification import Classification


@dataclass(frozen=True)
class Preference(Classification):
    """One of two sides for each row.

    The outputs are the rewards of both answers, `[rows, 2]`. Their softmax is the probability that
    either is better under the model of Bradley and Terry (Biometrika 1952), and the loss is what
    reward models are trained with, -log sigmoid(r(chosen) - r(rejected)).
    """

    @classmethod
    def of(cls, outputs: Tensor, classes: int, labels: Tensor | None = None) -> Preference:
        """Check what a model returns: rewards are never taken for probabilities.

        Raises
        ------
        ModelError
            The outputs are no floating-point numbers `[rows, 2]`.
        """
        Classification.of(outputs, classes)
        return cls(classes)

    @property
    def reading(self) -> str:
        """What the outputs are read as, in words."""
        return "rewards, whose difference is the log odds that the one answer is better"

"""Training again: without some rows, or with some queries added.

Two trainings that differ by a few rows shall differ by nothing else: the same seed gives the same
fresh weights, the same order and the same steps, and a row that is left out is simply missing from
its batches. What is left of chance is averaged over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dataaudit.errors import ModelError
from dataaudit.mirror.finite import FiniteSettings, Part, finite_mirror
from dataaudit.mirror.shrink import shrunk
from dataaudit.models.refitting import refitted
from dataaudit.report import formats
from dataaudit.scoring.perturbation import UNPERTURBED
from dataaudit.studies.verification.examples import Examples
from dataaudit.tasks import Task

Included = NDArray[np.bool_]


class Retrainer(Protocol):
    """Trains the model again on some of the examples."""

    @property
    def words(self) -> str:
        """The recipe in words, for the report."""
        ...

    @property
    def is_exact(self) -> bool:
        """Whether training has one outcome whatever the seed, so that repeats are needless."""
        ...

    def train(self, included: Included, seed: int) -> nn.Module:
        """Return the model trained on the included examples, in eval mode.

        Parameters
        ----------
        included : bool `[examples]`
        seed : int
            The same seed gives the same model.
        """
        ...


@dataclass(frozen=True)
class Recipe:
    """How a torch model is trained again.

    Attributes
    ----------
    start : "fresh" or "trained"
        From weights that each part's `reset_parameters` gives, or from the trained ones.
    epochs : int
        Passes over the training rows.
    learning_rate : float
        Of AdamW, at the height of one cycle.
    batch_size : int
    """

    start: str = "fresh"
    epochs: int = 10
    learning_rate: float = 3e-3
    batch_size: int = 64


@dataclass(frozen=True)
class Descent:
    """Trains a torch model by a recipe, on batches drawn from rows and queries together.

    Attributes
    ----------
    module : torch.nn.Module
        The trained model; it is copied, never changed.
    task : Task
    examples : Examples
        Rows and queries.
    rows : int
        How many of the examples are rows: the steps of an epoch are counted by them.
    recipe : Recipe
    """

    module: nn.Module
    task: Task
    examples: Examples
    rows: int
    recipe: Recipe

    is_exact = False

    @property
    def words(self) -> str:
        """The recipe in words, for the report."""
        recipe = self.recipe
        start = "fresh weights" if recipe.start == "fresh" else "the trained weights"
        return (
            f"from {start}, {formats.rows(recipe.epochs, 'epoch')} of AdamW (one cycle up to a "
            f"learning rate of {recipe.learning_rate:g}, batches of {recipe.batch_size})"
        )

    def train(self, included: Included, seed: int) -> nn.Module:
        """Return the model trained on the included examples, in eval mode."""
        recipe = self.recipe
        module = self.module if recipe.start == "trained" else fresh(self.module, seed)
        settings = FiniteSettings(
            steps=recipe.epochs * self._steps_per_epoch,
            learning_rate=recipe.learning_rate,
            schedule="one cycle",
            batch_norm="updated",
            dropout=True,
            seed=seed,
        )
        batches = self._batches(included, seed)
        return finite_mirror(module, self.task, batches, settings).copy_of(module)

    @property
    def _steps_per_epoch(self) -> int:
        return -(-self.rows // self.recipe.batch_size)

    def _batches(self, included: Included, seed: int) -> Iterator[list[Part]]:
        generator = np.random.default_rng(seed)
        while True:
            order = generator.permutation(len(self.examples))
            for chosen in np.array_split(order, self._steps_per_epoch):
                kept = chosen[included[chosen]]
                # A batch that is left out whole would have no mean; and batch norm needs two.
                if len(kept) < 2:
                    kept = np.flatnonzero(included)[:2]
                yield [self.examples.part(kept)]


@dataclass(frozen=True)
class Refit:
    """Fits a scikit-learn logistic regression again, to the optimum: one outcome, no chance.

    Attributes
    ----------
    estimator : LogisticRegression or pipeline that ends in one
        Fitted; the steps of a pipeline before it are held as they are.
    examples : Examples
        Inputs as the estimator takes them.
    classes : int
    """

    estimator: Any
    examples: Examples
    classes: int

    is_exact = True

    @property
    def words(self) -> str:
        """The recipe in words, for the report."""
        return "scikit-learn logistic regression, with its own regularisation, to the optimum"

    def train(self, included: Included, seed: int) -> nn.Module:
        """Return the logistic regression fitted to the included examples, as a module."""
        inputs, labels = self.examples.part(np.flatnonzero(included))
        assert isinstance(inputs, torch.Tensor)
        present = len(torch.unique(labels))
        if present < self.classes:
            raise ModelError(
                f"training again: without some rows {present} of {self.classes} classes are left; "
                "expected all; one class is too rare in these rows (smaller groups may do, or more "
                "rows of it)"
            )
        return refitted(self.estimator, inputs, labels)


def fresh(module: nn.Module, seed: int) -> nn.Module:
    """Return an untrained copy, in eval mode: fresh weights, and batch norm that has seen nothing.

    Weights of parts without `reset_parameters` are shuffled instead (see `shrunk`).
    """
    untrained = shrunk(module, UNPERTURBED, 0.0, "all", seed).copy_of(module)
    for part in untrained.modules():
        if isinstance(part, nn.modules.batchnorm._NormBase):
            part.reset_running_stats()
    return untrained

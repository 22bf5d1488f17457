"""What tracing needs of a kind of model: language models and diffusion models each give one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dataaudit.datasets.samples import Batch, Samples
from dataaudit.mirror.finite import Direction
from dataaudit.models.trained import TrainedModel
from dataaudit.report.data import TracedSample
from dataaudit.scoring.perturbation import Perturbation

FloatArray = NDArray[np.float64]


class Generator(Protocol):
    """A generative model as it was opened, before it has seen data."""

    def check_columns(self, samples: Samples) -> None:
        """Raise a `DataError` where the samples lack a column that is needed."""
        ...

    def read(self, samples: Samples, batch: Batch) -> None:
        """Raise a `DataError` where a row cannot be used, which the model need not tell."""
        ...

    def tracer(self, train: Samples, suspects: Samples) -> Tracer:
        """Return what traces these suspects to these rows.

        Raises
        ------
        DataError, ModelError
            They are not what the model takes.
        """
        ...


class Tracer(Protocol):
    """Perturbs a model with one query at a time, and measures the rows' losses under it."""

    @property
    def model(self) -> TrainedModel:
        """The trained model; nothing here changes it."""
        ...

    @property
    def direction(self) -> Direction:
        """Whether `perturb` learns or unlearns; after unlearning, rows behind a query lose."""
        ...

    @property
    def against_background(self) -> bool:
        """Whether a row's change is set against its own changes under unrelated samples.

        If not, rows are ranked by the change as it is.
        """
        ...

    @property
    def method(self) -> str:
        """How the model is perturbed and what the rows' loss is, a sentence for the report."""
        ...

    def check(self, samples: Samples) -> None:
        """Try the model on the first of the samples.

        Raises
        ------
        DataError, ModelError
            They are not what the model takes.
        """
        ...

    def perturb(self, samples: Samples, position: int) -> Perturbation:
        """Return the model after it has learned or unlearned one sample.

        Samples of another role than "suspects" stand for unrelated queries: what is taken of them
        should be as much as a query is.
        """
        ...

    def losses(
        self, samples: Samples, batch: Batch, perturbations: Sequence[Perturbation]
    ) -> FloatArray:
        """Return the loss of each row under each perturbed model, `[rows, models]`, nats."""
        ...

    def show(
        self,
        samples: Samples,
        positions: Sequence[int],
        perturbation: Perturbation | None = None,
    ) -> list[TracedSample]:
        """Return samples as a person can look at them, in the order of `positions`.

        With a perturbation, what it changes is shown too: token by token, where there are tokens.
        """
        ...

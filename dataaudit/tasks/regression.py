"""Regression: one number for each row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dataaudit.errors import ModelError
from dataaudit.tasks.task import Choices, Predictions

RegressionLoss = Literal["squared", "absolute", "huber"]

HUBER_BEND = 1.345
"""In noise scales: from there on the loss grows linearly (Huber, Annals of Mathematical Statistics
1964; this bend keeps 95 % efficiency under Gaussian noise)."""
NORMAL_MEDIAN = 0.6745
"""Median of the absolute value of a standard normal variable."""
SMALLEST_SHARE = 1e-3
"""A model that fits its rows exactly shows no noise; then it is this share of the targets' own
spread."""
LEAST_DISPLACEMENT = 2.0
"""In noise scales. A smaller error cannot be told from noise, by a model or by a person."""
MOST_DISPLACEMENT = 4.0


@dataclass(frozen=True)
class Regression:
    """One real number for each row, with noise of one scale.

    Attributes
    ----------
    noise_scale : float
        Standard deviation of right targets around the model's outputs, in the targets' unit.
    loss : "squared", "absolute" or "huber"
        Of the residual in noise scales. `squared`, half its square, is the Gaussian negative log
        likelihood, and `absolute` Laplace's for the scale 1, both in nats and without the constant
        that all rows share, so that a perfect fit has loss 0.
    """

    noise_scale: float = 1.0
    loss: RegressionLoss = "squared"

    @classmethod
    def of(cls, outputs: Tensor, loss: RegressionLoss = "squared") -> Regression:
        """Check what a model returns for some of its rows.

        Raises
        ------
        ModelError
            The outputs are no floating-point numbers `[rows]` or `[rows, 1]`.
        """
        shape = tuple(outputs.shape)
        if not outputs.is_floating_point():
            raise ModelError(f"the model returned {outputs.dtype}; expected floating-point numbers")
        if outputs.ndim != 1 and shape[1:] != (1,):
            raise ModelError(
                f"the model returned outputs of shape {shape} for {shape[0] if shape else 0} rows; "
                "expected [rows] or [rows, 1], one number for each row (task regression)"
            )
        return cls(loss=loss)

    def with_noise_of(self, residuals: NDArray[np.float64], spread: float) -> Regression:
        """Return the task with the noise scale of some residuals.

        Parameters
        ----------
        residuals : `[n]`
            Target minus output, of rows that the model was not trained on where there are such.
            Their median size counts, which a minority of wrong targets hardly moves.
        spread : float
            Standard deviation of the targets.
        """
        scale = float(np.median(np.abs(residuals))) / NORMAL_MEDIAN
        return replace(self, noise_scale=max(scale, SMALLEST_SHARE * spread, 1e-30))

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row's residual in noise scales, `[rows]`, never negative."""
        values = outputs if outputs.dtype == torch.float64 else outputs.float()
        residuals = (values.reshape(-1) - labels.to(values.dtype)) / self.noise_scale
        if self.loss == "absolute":
            return residuals.abs()
        if self.loss == "huber":
            zero = torch.zeros_like(residuals)
            return functional.huber_loss(residuals, zero, reduction="none", delta=HUBER_BEND)
        return residuals.square() / 2

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the predicted target, `[rows, 1]`, in the targets' unit."""
        return outputs.reshape(-1, 1)

    @property
    def reading(self) -> str:
        """Nothing: a number is read as it is."""
        return ""

    def answers(self, predictions: Predictions) -> NDArray[np.float64]:
        """Return the predicted targets, `[rows]`."""
        return predictions[:, 0].astype(np.float64)

    def choices(self, answers: NDArray[Any], labels: NDArray[Any]) -> Iterator[Choices]:
        """Yield nothing: a number is no choice."""
        yield from ()

    metric_name = "share of variance explained"

    def metric(self, predictions: Predictions, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Return 1 minus the squared residual over the labels' variance, `[rows]`; mean: R²."""
        variance = max(float(np.var(labels)), 1e-30)
        residuals = np.asarray(labels, dtype=np.float64) - predictions[:, 0]
        return np.asarray(1 - residuals**2 / variance)

    def wrong_labels(
        self, predictions: Predictions, labels: NDArray[Any], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Return another target for every row, `[rows]`.

        It is the target of another row: what a slip of a line or a wrong join puts there, and
        harder to find than a wrong unit or decimal point, because it is a value that occurs. Only
        rows at least two noise scales away are drawn from, since a smaller error cannot be told
        from noise; where there is none, the target is displaced by two to four of them.
        """
        wrong = np.empty(len(labels))
        for line, label in enumerate(labels):
            far = np.flatnonzero(np.abs(labels - label) >= LEAST_DISPLACEMENT * self.noise_scale)
            if len(far):
                wrong[line] = labels[generator.choice(far)]
            else:
                size = generator.uniform(LEAST_DISPLACEMENT, MOST_DISPLACEMENT)
                wrong[line] = label + generator.choice([-1, 1]) * size * self.noise_scale
        return wrong

    def guessing_loss(self, labels: NDArray[Any]) -> float:
        """Return the mean loss of the labels' median, which suits all three losses, nats."""
        guess = torch.full((len(labels),), float(np.median(labels)), dtype=torch.float64)
        return float(self.losses(guess, torch.as_tensor(labels)).mean())

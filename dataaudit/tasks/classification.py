"""Classification: one of several classes for each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dataaudit.errors import ModelError
from dataaudit.tasks.task import Predictions

OutputKind = Literal["logits", "probabilities", "one logit"]


@dataclass(frozen=True)
class Classification:
    """One of C classes for each row.

    Attributes
    ----------
    classes : int
        C, at least 2.
    outputs : "logits", "probabilities" or "one logit"
        What the model returns: `[rows, C]` logits (or log-probabilities), `[rows, C]`
        probabilities, or for two classes one logit of the second class, `[rows]` or `[rows, 1]`.
    """

    classes: int
    outputs: OutputKind = "logits"

    @classmethod
    def of(cls, outputs: Tensor, classes: int) -> Classification:
        """Recognise what a model returns from the outputs of some of its rows.

        Raises
        ------
        ModelError
            The outputs fit neither `[rows, classes]` nor one logit for two classes.
        """
        shape = tuple(outputs.shape)
        if not outputs.is_floating_point():
            raise ModelError(f"the model returned {outputs.dtype}; expected floating-point logits")
        if classes == 2 and (outputs.ndim == 1 or shape[1:] == (1,)):
            return cls(classes, "one logit")
        if outputs.ndim != 2 or shape[1] != classes:
            raise ModelError(
                f"the model returned outputs of shape {shape} for {shape[0] if shape else 0} rows; "
                f"expected [{shape[0] if shape else 'rows'}, {classes}], one column for each of "
                f"the {classes} classes"
            )
        values = outputs.detach().double()
        sums_to_one = bool(((values.sum(dim=1) - 1).abs() < 1e-3).all())
        if sums_to_one and bool((values >= 0).all()):
            return cls(classes, "probabilities")
        return cls(classes, "logits")

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        """Return `[rows, C]` log-probabilities, differentiable, in at least float32."""
        values = outputs if outputs.dtype == torch.float64 else outputs.float()
        if self.outputs == "one logit":
            logit = values.reshape(-1)
            return torch.stack([functional.logsigmoid(-logit), functional.logsigmoid(logit)], dim=1)
        if self.outputs == "probabilities":
            return values.clamp_min(torch.finfo(values.dtype).tiny).log()
        return functional.log_softmax(values, dim=1)

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each row in nats, `[rows]`, never negative."""
        return functional.nll_loss(self.log_probabilities(outputs), labels, reduction="none")

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability of each class, `[rows, C]`."""
        return self.log_probabilities(outputs).exp()

    metric_name = "accuracy"

    def metric(self, predictions: Predictions, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Return 1 where the most probable class is the label, else 0, `[rows]`."""
        return np.asarray(predictions.argmax(axis=1) == labels, dtype=np.float64)

    def wrong_labels(
        self, predictions: Predictions, labels: NDArray[Any], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Return another class for every row, `[rows]`.

        It is drawn in proportion to the square root of what the model gives it: people, too,
        confuse classes that look alike, and errors drawn uniformly are easier to find than theirs.
        """
        weights = np.sqrt(predictions.astype(np.float64) + 1e-6)
        weights[np.arange(len(labels)), labels] = 0
        weights /= weights.sum(axis=1, keepdims=True)
        return (weights.cumsum(axis=1) > generator.random((len(labels), 1))).argmax(axis=1)

    def guessing_loss(self, labels: NDArray[Any]) -> float:
        """Return the entropy of the classes' shares, nats."""
        shares = np.bincount(labels) / len(labels)
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum())

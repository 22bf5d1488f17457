"""Classification: one of several classes for each row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dataaudit.errors import ModelError
from dataaudit.tasks.task import Choices, Predictions

OutputKind = Literal[
    "logits",
    "probabilities",
    "separate probabilities",
    "one logit",
    "one probability",
    "one log-probability",
]
CLEARLY = 3.0
"""In standard errors of the mean difference of two losses."""

READINGS = {
    "logits": "logits (or log-probabilities), one for each class",
    "probabilities": "probabilities, because they are not negative and sum to 1",
    "separate probabilities": "separate probabilities of each class, because all lie between 0 "
    "and 1 and do not sum to 1",
    "one logit": "one logit, of the second class",
    "one probability": "one probability, of the second class, because all lie between 0 and 1",
    "one log-probability": "one log-probability, of the second class, because none is above 0 and "
    "the labels are less surprising so",
}


@dataclass(frozen=True)
class Classification:
    """One of C classes for each row.

    Attributes
    ----------
    classes : int
        C, at least 2.
    outputs : OutputKind
        What the model returns: `[rows, C]` logits (or log-probabilities), probabilities that sum
        to 1, or separate ones, of each class against all others; or for two classes `[rows]` or
        `[rows, 1]`: one logit, probability or log-probability of the second class.
    """

    classes: int
    outputs: OutputKind = "logits"

    @classmethod
    def of(cls, outputs: Tensor, classes: int, labels: Tensor | None = None) -> Classification:
        """Recognise what a model returns from the outputs of some of its rows.

        Their range and sums leave one reading or two; of two, the one is taken under which the
        labels are clearly less surprising, and else the one that the range speaks for.

        Parameters
        ----------
        outputs : `[rows, …]`
        classes : int
        labels : int64 `[rows]` or None
            Of the same rows, best of trusted ones.

        Raises
        ------
        ModelError
            The outputs fit neither `[rows, classes]` nor one value for two classes.
        """
        shape = tuple(outputs.shape)
        if not outputs.is_floating_point():
            raise ModelError(f"the model returned {outputs.dtype}; expected floating-point logits")
        values = outputs.detach().double()
        inside = bool(((values >= 0) & (values <= 1)).all())
        if classes == 2 and (outputs.ndim == 1 or shape[1:] == (1,)):
            logit = cls(classes, "one logit")
            if inside:
                return cls(classes, "one probability")._unless_clearly(logit, values, labels)
            if bool((values <= 0).all()):
                below = cls(classes, "one log-probability")
                return logit._unless_clearly(below, values, labels)
            return logit
        if outputs.ndim != 2 or shape[1] != classes:
            raise ModelError(
                f"the model returned outputs of shape {shape} for {shape[0] if shape else 0} rows; "
                f"expected [{shape[0] if shape else 'rows'}, {classes}], one column for each of "
                f"the {classes} classes"
            )
        sums = values.sum(dim=1)
        logits = cls(classes, "logits")
        if bool(((sums - 1).abs() < 1e-3).all()) and bool((values >= 0).all()):
            return cls(classes, "probabilities")
        if inside and labels is not None and bool((sums > 0).all()):
            separate = cls(classes, "separate probabilities")
            return separate._unless_clearly(logits, values, labels)
        return logits

    def _unless_clearly(
        self, other: Classification, outputs: Tensor, labels: Tensor | None
    ) -> Classification:
        """Return this reading, or another under which the labels are clearly less surprising."""
        if labels is None or len(labels) < 2:
            return self
        gain = self.losses(outputs, labels) - other.losses(outputs, labels)
        clearly = CLEARLY * float(gain.std()) / len(gain) ** 0.5
        return other if float(gain.mean()) > max(clearly, 1e-9) else self

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        """Return `[rows, C]` log-probabilities, differentiable, in at least float32."""
        values = outputs if outputs.dtype == torch.float64 else outputs.float()
        if self.outputs == "one logit":
            logit = values.reshape(-1)
            return torch.stack([functional.logsigmoid(-logit), functional.logsigmoid(logit)], dim=1)
        if self.outputs == "one probability":
            logit = torch.logit(values.reshape(-1), eps=torch.finfo(values.dtype).eps)
            return torch.stack([functional.logsigmoid(-logit), functional.logsigmoid(logit)], dim=1)
        if self.outputs == "one log-probability":
            second = values.reshape(-1).clamp_max(-torch.finfo(values.dtype).eps)
            return torch.stack([torch.log(-torch.expm1(second)), second], dim=1)
        if self.outputs == "probabilities":
            return values.clamp_min(torch.finfo(values.dtype).tiny).log()
        if self.outputs == "separate probabilities":
            logs = values.clamp_min(torch.finfo(values.dtype).tiny).log()
            return functional.log_softmax(logs, dim=1)
        return functional.log_softmax(values, dim=1)

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each row in nats, `[rows]`, never negative."""
        return functional.nll_loss(self.log_probabilities(outputs), labels, reduction="none")

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability of each class, `[rows, C]`."""
        return self.log_probabilities(outputs).exp()

    @property
    def reading(self) -> str:
        """What the outputs are read as, in words."""
        return READINGS[self.outputs]

    def answers(self, predictions: Predictions) -> NDArray[np.int64]:
        """Return the most probable class, `[rows]`."""
        return predictions.argmax(axis=1).astype(np.int64)

    def choices(self, answers: NDArray[Any], labels: NDArray[Any]) -> Iterator[Choices]:
        """Yield the answers and the labels."""
        yield answers, labels.astype(np.int64)

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

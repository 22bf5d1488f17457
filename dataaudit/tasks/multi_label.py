"""Multi-label classification: each of several labels is present or absent in each row."""

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
from dataaudit.tasks.classification import CLEARLY
from dataaudit.tasks.task import SLIPS, Choices, Predictions


@dataclass(frozen=True)
class MultiLabel:
    """A set of labels for each row, out of L.

    Attributes
    ----------
    classes : int
        L, at least 1.
    outputs : "logits" or "probabilities"
        What the model returns, `[rows, L]`, each column for itself.
    """

    classes: int
    outputs: Literal["logits", "probabilities"] = "logits"

    @classmethod
    def of(cls, outputs: Tensor, classes: int, labels: Tensor | None = None) -> MultiLabel:
        """Recognise what a model returns from the outputs of some of its rows.

        Outputs that all lie between 0 and 1 are taken for probabilities, unless the labels of the
        same rows, `[rows, L]`, are clearly less surprising if they are logits.

        Raises
        ------
        ModelError
            The outputs are no floating-point numbers `[rows, classes]`.
        """
        shape = tuple(outputs.shape)
        if not outputs.is_floating_point():
            raise ModelError(f"the model returned {outputs.dtype}; expected floating-point logits")
        if shape[1:] != (classes,) and not (classes == 1 and outputs.ndim == 1):
            raise ModelError(
                f"the model returned outputs of shape {shape} for {shape[0] if shape else 0} rows; "
                f"expected [{shape[0] if shape else 'rows'}, {classes}], one column for each of "
                f"the {classes} labels (task multi-label)"
            )
        inside = bool(((outputs >= 0) & (outputs <= 1)).all())
        logits = cls(classes, "logits")
        if not inside:
            return logits
        found = cls(classes, "probabilities")
        if labels is None or len(labels) < 2:
            return found
        values = outputs.detach().double()
        gain = found.losses(values, labels) - logits.losses(values, labels)
        clearly = CLEARLY * float(gain.std()) / len(gain) ** 0.5
        return logits if float(gain.mean()) > max(clearly, 1e-9) else found

    def logits(self, outputs: Tensor) -> Tensor:
        """Return the log odds of each label's presence, `[rows, L]`, in at least float32."""
        values = outputs if outputs.dtype == torch.float64 else outputs.float()
        values = values.reshape(len(values), self.classes)
        if self.outputs == "probabilities":
            return torch.logit(values, eps=torch.finfo(values.dtype).eps)
        return values

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the labels' cross-entropies, `[rows]`, nats, never negative."""
        logits = self.logits(outputs)
        return functional.binary_cross_entropy_with_logits(
            logits, labels.to(logits.dtype), reduction="none"
        ).sum(dim=1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability that each label is present, `[rows, L]`."""
        return self.logits(outputs).sigmoid()

    @property
    def reading(self) -> str:
        """What the outputs are read as, in words."""
        inside = ", because all lie between 0 and 1" if self.outputs == "probabilities" else ""
        return f"{self.outputs} of each label{inside}"

    def answers(self, predictions: Predictions) -> NDArray[np.int64]:
        """Return the labels that are more probable than not, `[rows, L]`."""
        return (predictions > 0.5).astype(np.int64)

    def choices(self, answers: NDArray[Any], labels: NDArray[Any]) -> Iterator[Choices]:
        """Yield whether each label is in the answers, and in the labels, label by label."""
        for place in range(self.classes):
            yield answers[:, place], (labels[:, place] > 0).astype(np.int64)

    metric_name = "share of labels right"

    def metric(self, predictions: Predictions, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Return the share of each row's labels that is right at even odds, `[rows]`."""
        return np.asarray(((predictions > 0.5) == (labels > 0)).mean(axis=1), dtype=np.float64)

    def wrong_labels(
        self, predictions: Predictions, labels: NDArray[Any], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Return label sets with one label too many or too few, `[rows, L]`.

        In half of the rows, which one is drawn in proportion to the square root of what the model
        gives to the opposite of what is right, as for classes; in the others each is as likely as
        another.
        """
        present = labels > 0
        opposite = np.where(present, 1 - predictions, predictions).astype(np.float64)
        weights = np.sqrt(opposite + 1e-6)
        weights[generator.random(len(labels)) < SLIPS] = 1
        weights /= weights.sum(axis=1, keepdims=True)
        drawn = (weights.cumsum(axis=1) > generator.random((len(labels), 1))).argmax(axis=1)
        wrong = np.array(labels)
        lines = np.arange(len(labels))
        wrong[lines, drawn] = 1 - wrong[lines, drawn]
        return wrong

    def guessing_loss(self, labels: NDArray[Any]) -> float:
        """Return the sum of the entropies of the labels' shares, nats."""
        shares = np.clip((labels > 0).mean(axis=0), 1e-12, 1 - 1e-12)
        return float(-(shares * np.log(shares) + (1 - shares) * np.log1p(-shares)).sum())

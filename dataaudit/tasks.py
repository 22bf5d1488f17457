"""Tasks: what a model's outputs mean, and the loss of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from dataaudit.errors import ModelError

OutputKind = Literal["logits", "probabilities", "one logit"]


class Task(Protocol):
    """What a model's outputs mean. Everything the mirrors and engines need of it."""

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row in nats, `[rows]`, differentiable, in at least float32."""
        ...

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return what the flags are made from, `[rows, width]`; for classes, probabilities."""
        ...


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

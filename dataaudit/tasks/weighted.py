"""Losses as a model was trained with them: class weights and label smoothing.

The mirror learns with them, so that it walks where training walked. The reported loss of a row
stays the plain one: weighted, the same implausible label would count more in one class than in
another, and smoothed, a right label would never have loss 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dataaudit.labels.tags import NOT_JUDGED
from dataaudit.tasks.classification import Classification
from dataaudit.tasks.multi_label import MultiLabel
from dataaudit.tasks.segmentation import Segmentation
from dataaudit.tasks.token_classification import TokenClassification, tags_of_the_batch


@dataclass(frozen=True)
class WeightedClassification:
    """Cross-entropy with weights for the classes, and labels smoothed.

    Attributes
    ----------
    task : Classification
    class_weights : tuple of float, length C, or None
        In the order of the classes; a row's loss is multiplied by its class's weight.
    label_smoothing : float
        Share of each label that is spread over all classes, 0 to 1 (Szegedy et al., CVPR 2016).
    """

    task: Classification
    class_weights: tuple[float, ...] | None
    label_smoothing: float

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row as torch's `cross_entropy` defines it, `[rows]`, nats."""
        values = self.task.log_probabilities(outputs)
        weights = None if self.class_weights is None else values.new_tensor(self.class_weights)
        return functional.cross_entropy(
            values, labels, weights, reduction="none", label_smoothing=self.label_smoothing
        )

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability of each class, `[rows, C]`."""
        return self.task.predictions(outputs)


@dataclass(frozen=True)
class WeightedMultiLabel:
    """Binary cross-entropies in which present labels weigh more, and labels are smoothed.

    Attributes
    ----------
    task : MultiLabel
    class_weights : tuple of float, length L, or None
        Weight of each label where it is present (torch's `pos_weight`).
    label_smoothing : float
        Each label is drawn so far towards even odds, 0 to 1.
    """

    task: MultiLabel
    class_weights: tuple[float, ...] | None
    label_smoothing: float

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum over the labels, `[rows]`, nats."""
        logits = self.task.logits(outputs)
        targets = labels.to(logits.dtype)
        targets = torch.lerp(targets, torch.full_like(targets, 0.5), self.label_smoothing)
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        return functional.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=weights, reduction="none"
        ).sum(dim=1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability that each label is present, `[rows, L]`."""
        return self.task.predictions(outputs)


@dataclass(frozen=True)
class WeightedTokenClassification:
    """Cross-entropy of tokens with weights for the classes, and labels smoothed.

    Attributes
    ----------
    task : TokenClassification
    class_weights : tuple of float, length C, or None
        A token's loss is multiplied by its tag's weight.
    label_smoothing : float
        As for `WeightedClassification`.
    """

    task: TokenClassification
    class_weights: tuple[float, ...] | None
    label_smoothing: float

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over each row's judged tokens, `[rows]`, nats."""
        tags = tags_of_the_batch(outputs, labels)
        logs = self.task.log_probabilities(outputs)
        return _mean_of_judged(logs, tags, self.class_weights, self.label_smoothing)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability of each class of each token, `[rows, tokens * C]`."""
        return self.task.predictions(outputs)


@dataclass(frozen=True)
class WeightedSegmentation:
    """Cross-entropy of pixels with weights for the classes, and labels smoothed.

    Attributes
    ----------
    task : Segmentation
    class_weights : tuple of float, length C, or None
        A pixel's loss is multiplied by its class's weight.
    label_smoothing : float
        As for `WeightedClassification`.
    """

    task: Segmentation
    class_weights: tuple[float, ...] | None
    label_smoothing: float

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over each row's judged pixels, `[rows]`, nats."""
        masks = labels.long()
        logs = self.task.log_probabilities(outputs, (masks.shape[1], masks.shape[2]))
        return _mean_of_judged(logs, masks, self.class_weights, self.label_smoothing)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Refuse, as `Segmentation` does."""
        return self.task.predictions(outputs)


def _mean_of_judged(
    logs: Tensor, labels: Tensor, class_weights: tuple[float, ...] | None, label_smoothing: float
) -> Tensor:
    """Return the mean loss of each row's judged places, `[rows]`, nats.

    Parameters
    ----------
    logs : `[rows, ..., C]`
        Log-probabilities.
    labels : int64 `[rows, ...]`
        Class indices, or `NOT_JUDGED`.
    """
    weights = None if class_weights is None else logs.new_tensor(class_weights)
    each = functional.cross_entropy(
        logs.flatten(0, -2),
        labels.flatten(),
        weights,
        reduction="none",
        ignore_index=NOT_JUDGED,
        label_smoothing=label_smoothing,
    )
    judged = (labels != NOT_JUDGED).flatten(1).sum(dim=1).clamp_min(1)
    return each.reshape(len(labels), -1).sum(dim=1) / judged

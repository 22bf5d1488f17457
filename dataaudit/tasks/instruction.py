"""Answers to instructions, by the losses of their tokens after the instruction and alone.

The answer stands among the model's inputs, so that outputs speak of the label that a row was given;
`models.answer_losses` makes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dataaudit.errors import ModelError
from dataaudit.labels.answers import (
    AFTER,
    ALONE,
    COUNT,
    END,
    KEPT,
    OTHER,
    SKIPPED,
    TEXT,
    WHOLE,
    WIDTH,
)
from dataaudit.tasks.task import Choices, Predictions

SWAPPED, ALIKE, FOREIGN, CUT = range(4)
FEWEST_TOKENS = 8
"""Of an answer that a part is taken from."""
PARTS = (0.3, 0.7)
"""Share of an answer that stays."""


@dataclass(frozen=True)
class Instruction:
    """A text for each row; labels are `[rows, 4]` (`labels.answers`).

    Attributes
    ----------
    alike : mapping of text to text
        By place in the list of texts: for an answer, that of the instruction most alike.
    """

    alike: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, outputs: Tensor) -> Instruction:
        """Check what a model returns.

        Raises
        ------
        ModelError
            It is no language model's losses.
        """
        if outputs.ndim != 2 or outputs.shape[1] != WIDTH:
            raise ModelError("the model is no causal language model (task instruction)")
        return cls()

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of each answer's tokens after its instruction, `[rows]`, nats.

        Of the answers that stood among the model's inputs; `labels` are the same.
        """
        return outputs[:, AFTER]

    def predictions(self, outputs: Tensor) -> Tensor:
        """Refuse: outputs speak of the given label alone."""
        raise NotImplementedError("said_of(outputs, labels) is asked instead")

    def said_of(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the outputs, `[rows, WIDTH]`."""
        return outputs

    @property
    def reading(self) -> str:
        """What the outputs are read as, in words."""
        return "losses of each token of an answer, after its instruction and alone"

    def answers(self, predictions: Predictions) -> NDArray[Any]:
        """Return 1 where the answer is likelier after its instruction than alone, `[rows]`."""
        return (predictions[:, AFTER] < predictions[:, ALONE]).astype(np.int64)

    def choices(self, answers: NDArray[Any], labels: NDArray[Any]) -> Iterator[Choices]:
        """Yield which of two sides is likelier, and on which one the instruction stands.

        It stands on either in turn, so that chance is a half.
        """
        sides = np.arange(len(answers)) % 2
        yield np.where(answers == 1, sides, 1 - sides), sides

    metric_name = "share of answers that are likelier after their instruction than alone"

    def metric(self, predictions: Predictions, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Return 1 where the answer is likelier after its instruction than alone, `[rows]`."""
        return self.answers(predictions).astype(np.float64)

    def wrong_labels(
        self, predictions: Predictions, labels: NDArray[Any], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Return wrong answers, `[rows, 4]`.

        Another row's answer; that of the instruction most alike; one whose end is from another
        one; or one that is cut off, where the model knows a token that ends answers. Each kind is
        as likely, as far as answers are long enough.
        """
        wrong = np.array(labels)
        kinds = [SWAPPED, ALIKE, FOREIGN, *([CUT] if predictions[:, END].any() else [])]
        for line, (own, tokens) in enumerate(zip(labels, predictions[:, COUNT], strict=True)):
            other = _other(labels, own, generator)
            kind = generator.choice(kinds if tokens >= FEWEST_TOKENS else kinds[:2])
            kept = generator.uniform(*PARTS)
            if kind in (SWAPPED, ALIKE):
                text = self.alike.get(int(own[TEXT]), other) if kind == ALIKE else other
                wrong[line] = text, WHOLE, text, WHOLE
            else:
                wrong[line, KEPT] = round(kept * WHOLE)
                if kind == FOREIGN:
                    wrong[line, [OTHER, SKIPPED]] = other, round(kept * WHOLE)
        return wrong

    def guessing_loss(self, labels: NDArray[Any]) -> float:
        """Return infinity: of a loss that the model alone knows, nobody can say it."""
        return math.inf


def _other(labels: NDArray[Any], own: NDArray[Any], generator: np.random.Generator) -> int:
    """Return another row's text; its own where all are the same."""
    others = labels[labels[:, TEXT] != own[TEXT], TEXT]
    return int(generator.choice(others)) if len(others) else int(own[TEXT])

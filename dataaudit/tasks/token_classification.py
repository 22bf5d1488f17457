"""Token classification: one of several classes for each token of a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dataaudit.errors import ModelError
from dataaudit.labels.tags import NOT_JUDGED
from dataaudit.tasks.classification import Classification
from dataaudit.tasks.task import SLIPS, Choices, Predictions


@dataclass(frozen=True)
class TokenClassification:
    """One of C classes for each token; labels are `[rows, tokens]`, `NOT_JUDGED` where none is.

    Attributes
    ----------
    token : Classification
        What the model's outputs for one token mean.
    tokens : int
        Tokens of the longest row. Outputs are `[rows, tokens of the batch, C]`; those beyond
        a row's tags are padding.
    """

    token: Classification
    tokens: int

    @classmethod
    def of(
        cls, outputs: Tensor, classes: int, tokens: int, labels: Tensor | None = None
    ) -> TokenClassification:
        """Recognise what a model returns from the outputs of some of its rows.

        Raises
        ------
        ModelError
            The outputs are no floating-point numbers `[rows, tokens, classes]`.
        """
        shape = tuple(outputs.shape)
        if outputs.ndim != 3 or shape[2] != classes:
            raise ModelError(
                f"the model returned outputs of shape {shape}; expected [rows, tokens, {classes}], "
                f"one column for each of the {classes} classes (task token-classification)"
            )
        flat = outputs.reshape(-1, classes)
        if classes < 2:
            raise ModelError("token-classification: found 1 class, expected at least 2")
        if labels is None:
            return cls(Classification.of(flat, classes), tokens)
        tags = tags_of_the_batch(outputs, labels).flatten()
        judged = tags != NOT_JUDGED
        return cls(Classification.of(flat[judged], classes, tags[judged]), tokens)

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        """Return log-probabilities, `[rows, tokens of the batch, C]`, in at least float32."""
        flat = self.token.log_probabilities(outputs.reshape(-1, outputs.shape[-1]))
        return flat.reshape(outputs.shape)

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of each row's judged tokens, `[rows]`, nats."""
        tags = tags_of_the_batch(outputs, labels)
        each = functional.nll_loss(
            self.log_probabilities(outputs).flatten(0, 1),
            tags.flatten(),
            reduction="none",
            ignore_index=NOT_JUDGED,
        )
        return each.reshape(tags.shape).sum(dim=1) / (tags != NOT_JUDGED).sum(dim=1).clamp_min(1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability of each class of each token, `[rows, tokens * C]`.

        All rows have the length of the longest, however long their batch was; `as_tokens` gives
        the dimensions back. Of padding the probabilities are 0.
        """
        found = self.log_probabilities(outputs).exp()[:, : self.tokens]
        padding = self.tokens - found.shape[1]
        return functional.pad(found, (0, 0, 0, padding)).flatten(1)

    def as_tokens(self, predictions: Predictions) -> Predictions:
        """Return predictions as `[rows, tokens, C]`."""
        return predictions.reshape(len(predictions), self.tokens, self.token.classes)

    @property
    def reading(self) -> str:
        """What the outputs are read as, in words."""
        return f"{self.token.reading}, of each token"

    def answers(self, predictions: Predictions) -> NDArray[np.int64]:
        """Return the most probable tag of each token, `[rows, tokens]`."""
        return self.as_tokens(predictions).argmax(axis=2).astype(np.int64)

    def choices(self, answers: NDArray[Any], labels: NDArray[Any]) -> Iterator[Choices]:
        """Yield the answers and the tags of all judged tokens."""
        judged = labels != NOT_JUDGED
        yield answers[:, : labels.shape[1]][judged], labels[judged].astype(np.int64)

    metric_name = "share of tags right"

    def metric(self, predictions: Predictions, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Return the share of each row's judged tokens whose most probable tag is right."""
        judged = labels != NOT_JUDGED
        right = (self.as_tokens(predictions).argmax(axis=2) == labels) & judged
        return np.asarray(right.sum(axis=1) / np.maximum(judged.sum(axis=1), 1), dtype=np.float64)

    def wrong_labels(
        self, predictions: Predictions, labels: NDArray[Any], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Return the tags of every row with one of them wrong, `[rows, tokens]`.

        In half of the rows, which token, and which tag it gets, is drawn in proportion to the
        square root of what the model gives to that tag, as for classes; in the others every token
        and tag is as likely as another. Slips of either kind happen, and those that are easily
        confused alone look less wrong than most others do.
        """
        wrong = np.array(labels)
        found = self.as_tokens(predictions)
        for line, tags in enumerate(labels):
            judged = np.flatnonzero(tags != NOT_JUDGED)
            weights = np.sqrt(found[line, judged].astype(np.float64) + 1e-6)
            if generator.random() < SLIPS:
                weights[:] = 1
            weights[np.arange(len(judged)), tags[judged]] = 0
            drawn = generator.choice(weights.size, p=(weights / weights.sum()).ravel())
            place, tag = np.unravel_index(drawn, weights.shape)
            wrong[line, judged[place]] = tag
        return wrong

    def guessing_loss(self, labels: NDArray[Any]) -> float:
        """Return the entropy of the tags' shares, nats."""
        return self.token.guessing_loss(labels[labels != NOT_JUDGED])


def tags_of_the_batch(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return int64 tags of as many tokens as the outputs have, `[rows, tokens of the batch]`.

    Raises
    ------
    ModelError
        A row has more tags than the outputs have tokens.
    """
    tokens = outputs.shape[1]
    if bool((labels[:, tokens:] != NOT_JUDGED).any()):
        longest = int((labels != NOT_JUDGED).any(dim=0).nonzero().max()) + 1
        raise ModelError(
            f"the model returned outputs for {tokens} tokens where a row has tags for {longest}; "
            "expected at least one output for each tag (is the text cut off?)"
        )
    tags = labels[:, :tokens].long()
    return functional.pad(tags, (0, tokens - tags.shape[1]), value=NOT_JUDGED)

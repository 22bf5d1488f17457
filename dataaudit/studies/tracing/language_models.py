"""Tracing for causal language models: which passages a completion owes most to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from dataaudit.datasets.samples import Batch, Role, Samples
from dataaudit.errors import DataError
from dataaudit.mirror.finite import Direction, FiniteSettings, Part, finite_mirror
from dataaudit.models.tokens import Tokenize, Tokens, completion_start, model_inputs
from dataaudit.models.trained import TrainedModel
from dataaudit.report.data import TracedSample
from dataaudit.report.samples import clean_text, plain_id
from dataaudit.scoring.passes import Passes
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.studies.tracing.token_evidence import token_changes
from dataaudit.studies.tracing.token_losses import TokenTask, document_losses
from dataaudit.studies.tracing.windows import window_batches

FloatArray = NDArray[np.float64]
QUERIES_MEASURED = 50


@dataclass(frozen=True)
class Columns:
    """Where texts stand: `text` in documents; `prompt` (if there is one) and `completion`.

    `query_text` and `unseen_text` are `text` in queries and in trusted samples; None: as in
    training rows.
    """

    text: str = "text"
    prompt: str = "prompt"
    completion: str = "completion"
    query_text: str | None = None
    unseen_text: str | None = None

    def text_of(self, role: Role) -> str:
        """Return the column of documents in the samples of a role."""
        other = {"suspects": self.query_text, "held_out": self.unseen_text}
        return other.get(role) or self.text


@dataclass(frozen=True)
class LanguageModelTracer:
    """Traces completions to documents.

    Attributes
    ----------
    model : TrainedModel
        A module from token ids to logits `[rows, tokens, vocabulary]`.
    tokenize : callable
    columns : Columns
    context : int
        The most tokens that the model takes.
    settings : FiniteSettings
        How a query is unlearned or learned.
    loss_change : float
        No more steps are taken once the completion's summed loss has changed by so many nats, so
        that what the model hardly knows and what it knows by heart are unlearned alike.
    stretch : int
        Tokens of a document that stand for an unrelated completion, with what is before them as
        the prompt.
    tokens_per_batch : int
        Tokens that one forward pass takes, padding included.
    """

    model: TrainedModel
    tokenize: Tokenize
    columns: Columns
    context: int
    settings: FiniteSettings
    loss_change: float
    stretch: int = 8
    tokens_per_batch: int = 4096

    @property
    def direction(self) -> Direction:
        """Whether queries are learned or unlearned."""
        return self.settings.direction

    @property
    def against_background(self) -> bool:
        """True: documents differ widely in how much any step moves them."""
        return True

    @property
    def method(self) -> str:
        """How it is done, for the report."""
        settings = self.settings
        return (
            f"The model {settings.direction}ed each completion, given its prompt, in "
            f"{settings.optimizer} steps of {settings.learning_rate:g} until the completion's loss "
            f"had changed by {self.loss_change:g} nats, at most {settings.steps}. The loss of a "
            f"training document is the mean over its tokens, in windows of at most {self.context} "
            "tokens."
        )

    def perturb(self, samples: Samples, position: int) -> Perturbation:
        """Return the model after it has (un)learned a completion, or a stretch of a document."""
        if samples.role == "suspects":
            tokens, start = self._query(samples, position)
        else:
            tokens, start = self._stretch(samples, position)
        batches = list(
            window_batches([tokens.ids], self.context, self.tokens_per_batch, scored_from=[start])
        )
        device = self.model.device
        parts: list[Part] = [
            (
                model_inputs(self.model.module, batch.ids.to(device), batch.mask.to(device)),
                batch.labels.to(device),
            )
            for batch in batches
        ]

        def endless() -> Iterator[list[Part]]:
            while True:
                yield parts

        module, task = self.model.module, TokenTask()
        before = _loss(module, parts)

        def forgotten(perturbed: nn.Module) -> bool:
            return abs(_loss(perturbed, parts) - before) >= self.loss_change

        return finite_mirror(module, task, endless(), self.settings, until=forgotten)

    def losses(
        self, samples: Samples, batch: Batch, perturbations: Sequence[Perturbation]
    ) -> FloatArray:
        """Return the mean token loss of each document, `[rows, models]`, nats per token."""
        documents = self._documents(samples, batch)
        per_token = self._token_losses(documents, perturbations)
        return np.stack([losses[1:].sum(axis=0) / max(1, len(losses) - 1) for losses in per_token])

    def _typical_completion(self, queries: Samples) -> int:
        """Return the median number of tokens of some completions."""
        lengths = []
        for position in range(min(QUERIES_MEASURED, len(queries))):
            tokens, start = self._query(queries, position)
            lengths.append(len(tokens.ids) - start)
        return int(np.median(lengths))

    def show(
        self,
        samples: Samples,
        positions: Sequence[int],
        perturbation: Perturbation | None = None,
    ) -> list[TracedSample]:
        """Return texts, with the loss of each token before and after the perturbation."""
        batch = samples.take(positions)
        texts = [self._text(samples, batch, line) for line in range(len(batch))]
        documents = self.tokenize(texts)
        models = [UNPERTURBED, UNPERTURBED if perturbation is None else perturbation]
        per_token = self._token_losses(documents, models)
        shown = []
        for line, (text, tokens, losses) in enumerate(
            zip(texts, documents, per_token, strict=True)
        ):
            mean = losses[1:].sum(axis=0) / max(1, len(losses) - 1)
            shown.append(
                TracedSample(
                    sample_id=plain_id(batch.ids[line]),
                    text=clean_text(text),
                    image=None,
                    tokens=[] if perturbation is None else token_changes(text, tokens, losses),
                    loss_before=float(mean[0]),
                    loss_after=None if perturbation is None else float(mean[1]),
                )
            )
        return shown

    def check_columns(self, samples: Samples) -> None:
        """Make sure that there is a column of texts.

        Raises
        ------
        DataError
            There is none.
        """
        self._column(samples, samples.take([0]))

    def read(self, samples: Samples, batch: Batch) -> None:
        """Turn texts into tokens, and forget them.

        Raises
        ------
        DataError
            A text is missing, has no tokens, or is a query that says nothing.
        """
        documents = self._documents(samples, batch)
        if samples.role == "suspects":
            for line, document in enumerate(documents):
                self._completion(samples, batch, line, document)

    def tracer(self, train: Samples, suspects: Samples) -> LanguageModelTracer:
        """Return the same, with stretches of documents as long as a usual completion."""
        return replace(self, stretch=self._typical_completion(suspects))

    def check(self, samples: Samples) -> None:
        """Try the model on the first of the samples.

        Raises
        ------
        DataError, ModelError
            It fails, or predicts NaN or infinite values.
        """
        if samples.role == "train":
            self.losses(samples, samples.take([0]), [UNPERTURBED])
        else:
            self._token_losses(self._documents(samples, samples.take([0])), [UNPERTURBED])

    def _token_losses(
        self, documents: Sequence[Tokens], perturbations: Sequence[Perturbation]
    ) -> list[FloatArray]:
        ids, module = [tokens.ids for tokens in documents], self.model.module
        return document_losses(module, perturbations, ids, self.context, self.tokens_per_batch)

    def _documents(self, samples: Samples, batch: Batch) -> list[Tokens]:
        texts = [self._text(samples, batch, line) for line in range(len(batch))]
        documents = self.tokenize(texts)
        for line, tokens in enumerate(documents):
            if len(tokens.ids) < 1:
                raise DataError(f"{_where(samples, batch, line)}: no tokens; expected some text")
        return documents

    def _stretch(self, samples: Samples, position: int) -> tuple[Tokens, int]:
        """Return a document up to some place in it, and where its last `stretch` tokens begin."""
        ids = self._documents(samples, samples.take([position]))[0].ids
        last = max(1, len(ids) - self.stretch)
        start = int(np.random.default_rng(position).integers(1, last + 1))
        return Tokens(ids[: start + self.stretch]), start

    def _query(self, samples: Samples, position: int) -> tuple[Tokens, int]:
        """Return the tokens of prompt and completion, and where the completion begins."""
        batch = samples.take([position])
        whole = self._documents(samples, batch)[0]
        return whole, self._completion(samples, batch, 0, whole)

    def _completion(self, samples: Samples, batch: Batch, line: int, whole: Tokens) -> int:
        """Return where the completion begins in the tokens of prompt and completion."""
        if len(whole.ids) < 2:
            raise DataError(
                f"{_where(samples, batch, line)}: a single token, which nothing predicts; expected "
                "a prompt, or a longer text"
            )
        prompt = self._prompt(samples, batch, line)
        if not prompt:
            return 1
        if self._text(samples, batch, line) == prompt:
            # What would be left is the prompt's last token, which nobody asked about.
            raise DataError(
                f"{_where(samples, batch, line)}: column {self.columns.completion!r}: found an "
                "empty text, expected what the model generated"
            )
        return completion_start(self.tokenize([prompt])[0].ids, whole.ids)

    def _text(self, samples: Samples, batch: Batch, line: int) -> str:
        text = _value(samples, batch, line, self._column(samples, batch))
        return self._prompt(samples, batch, line) + text

    def _column(self, samples: Samples, batch: Batch) -> str:
        names = batch.frame.columns
        own = self.columns.text_of(samples.role)
        column = self.columns.completion if self.columns.completion in names else own
        if samples.role == "train":
            column = own
        if column not in names:
            wanted = own
            if samples.role != "train":
                wanted = f"{self.columns.completion!r} (with {self.columns.prompt!r}) or {wanted!r}"
            raise DataError(
                f"{samples.source.description}: no text column: expected {wanted}; the columns "
                f"are {', '.join(repr(str(name)) for name in names[:20])}"
            )
        return column

    def _prompt(self, samples: Samples, batch: Batch, line: int) -> str:
        names = batch.frame.columns
        is_pair = self.columns.prompt in names and self.columns.completion in names
        if samples.role == "train" or not is_pair:
            return ""
        return _value(samples, batch, line, self.columns.prompt)


def _loss(module: nn.Module, parts: Sequence[Part]) -> float:
    """Return the summed loss of a completion, nats."""
    passes, task = Passes(module), TokenTask()
    return sum(float(passes.losses(task, inputs, labels).sum()) for inputs, labels in parts)


def _value(samples: Samples, batch: Batch, line: int, column: str) -> str:
    value = batch.frame[column].iloc[line]
    if not isinstance(value, str):
        missing = bool(pd.api.types.is_scalar(value) and pd.isna(value))
        raise DataError(
            f"{_where(samples, batch, line)}: column {column!r}: found "
            f"{'no value' if missing else type(value).__name__}, expected text"
        )
    return value


def _where(samples: Samples, batch: Batch, line: int) -> str:
    return f"{samples.source.description}: row {batch.positions[line]} (id {batch.ids[line]})"

"""Causal language models that say how well answers fit their instructions.

Of each answer the loss of its tokens is taken twice: after the instruction, and alone. Their
difference, a token's, is how much the instruction helped with it; over a whole answer its
exponential is known as IFD (Li et al., NAACL 2024, arXiv 2308.12032).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from dataaudit.datasets.answer_pairs import ANSWER, IN_FILE
from dataaudit.datasets.instructions import INSTRUCTION
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.labels.answers import WINDOWS
from dataaudit.models.adapter import ModelAdapter
from dataaudit.models.answer_tokens import AnswerTokens, padded
from dataaudit.models.outputs import OutputsOf
from dataaudit.models.tokens import (
    NOT_SCORED,
    Tokens,
    checked_logits,
    model_inputs,
    most_at_once,
    said_by,
    token_losses,
    transformers_tokenize,
    user_tokenize,
)
from dataaudit.models.torch_module import TorchModel
from dataaudit.models.trained import Preprocess, TrainedModel, output_tensor

TEXT = "text"
"""The column in which a `preprocess` is given texts."""
NO_LIMIT = 2**31
MOST_KNOWN = 2**15


class AnswerLosses(OutputsOf):
    """A language model that returns what it makes of answers, `[rows, WIDTH]`.

    While gradients are taken there is the loss after the instruction alone, `[rows, 1]`: that is
    what such models are trained with, and an answer's words alone are nobody's instruction.

    Parameters
    ----------
    inner : torch.nn.Module
        From token ids to logits.
    ends : bool
        Whether the last token of every answer is one that ends it; without, `END` is 0.
    """

    def __init__(self, inner: nn.Module, *, ends: bool) -> None:
        super().__init__(inner, None, flatten=False)
        self._ends = ends

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        """Return losses; `labels` are the tokens of the answers, else `NOT_SCORED`."""
        if torch.is_grad_enabled():
            scored = (labels[:, 1:] != NOT_SCORED).sum(dim=1)
            losses = self._losses(input_ids, attention_mask, labels)
            return (losses.sum(dim=1) / scored.clamp_min(1)).unsqueeze(1)
        after, alone, scored = self.of_tokens(input_ids, attention_mask, labels)
        count = scored.sum(dim=1)
        last = after.gather(1, (count - 1).clamp_min(0).unsqueeze(1)).squeeze(1) * self._ends
        parts = [after.sum(dim=1) / count.clamp_min(1), alone.sum(dim=1) / count.clamp_min(1)]
        worst = [
            worst_stretch(values, count, length)
            for values in (after - alone, after)
            for length in WINDOWS
        ]
        return torch.stack([*parts, count.to(after.dtype), last, *worst], dim=1)

    def of_tokens(self, ids: Tensor, mask: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the losses of each answer's tokens after its instruction and alone, and a mask.

        All are `[rows, tokens of the longest answer]`, losses 0 behind an answer's last token.
        Alone, an answer follows the first token of its row, which in most models begins a text.
        """
        places = [(row != NOT_SCORED).nonzero().flatten() for row in labels]
        answers = [row[place] for row, place in zip(ids, places, strict=True)]
        alone = [
            (torch.cat([row[:1], answer]), 1) for row, answer in zip(ids, answers, strict=True)
        ]
        made = padded(alone, padding=0)
        # First: features are caught in the last pass, of the whole row.
        own = self._losses(made["input_ids"], made["attention_mask"], made["labels"])[:, 1:]
        losses = self._losses(ids, mask, labels)
        after = pad_sequence(
            [row[place] for row, place in zip(losses, places, strict=True)], batch_first=True
        )
        return after, own, made["attention_mask"][:, 1:].bool()

    def _losses(self, ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        inner = self.inner
        inputs: Any = model_inputs(inner, ids, mask)
        found = inner(**inputs) if isinstance(inputs, dict) else inner(inputs)
        return token_losses(checked_logits(output_tensor(found), ids), labels)


def worst_stretch(values: Tensor, count: Tensor, length: int) -> Tensor:
    """Return the largest mean of so many tokens in a row, `[rows]`; of a shorter row, its mean.

    Parameters
    ----------
    values : `[rows, tokens]`
        0 behind the last token.
    count : int64 `[rows]`
        Tokens of each row, at least 1.
    length : int
    """
    wide = functional.pad(values, (0, max(0, length - values.shape[1])))
    sums = wide.unfold(1, length, 1).sum(dim=2)
    starts = torch.arange(sums.shape[1], device=values.device)
    inside = starts <= (count - length).clamp_min(0).unsqueeze(1)
    largest = sums.masked_fill(~inside, -torch.inf).amax(dim=1)
    return largest / count.clamp(1, length)


@dataclass(frozen=True)
class AnswerInputs:
    """Turns rows with an instruction and an answer into a language model's token ids.

    Attributes
    ----------
    tokens : AnswerTokens
    before : callable
        What the model reads before an answer, of an instruction.
    end : int or None
        The token that ends an answer, where there is one.
    label : str or None
        The file's own column of answers. Only those are refused where they are too long: others,
        which were put in their place on purpose, are cut off.
    """

    tokens: AnswerTokens
    before: Callable[[str], str]
    end: int | None
    label: str | None
    known: dict[tuple[Any, str], tuple[Tokens, int]] = field(default_factory=dict)
    """What was tokenized, by instruction and answer: rows are learned many times over."""

    def __call__(self, frame: pd.DataFrame) -> dict[str, Tensor]:
        """Return `input_ids`, `attention_mask` and `labels`, int64 `[rows, tokens]`.

        Raises
        ------
        DataError
            There is no instruction, or the model does not take as many tokens as an answer has.
        """
        answers, rows = frame[ANSWER].tolist(), []
        own = answers if IN_FILE not in frame else frame[IN_FILE].tolist()
        parted = self.parted(frame[INSTRUCTION].tolist(), answers)
        for (whole, start), answer, in_file in zip(parted, answers, own, strict=True):
            ids = list(whole.ids) if self.end is None else [*whole.ids, self.end]
            count = len(ids) - start
            if count < 1 or (count >= self.tokens.most and answer == in_file):
                raise DataError(
                    f"the answer has {count:,} tokens; expected 1 to {self.tokens.most - 1:,}, as "
                    "many as the model takes beside one of the instruction"
                )
            rows.append(self.tokens.cut(replace(whole, ids=ids), start))
        return padded(rows, self.tokens.padding)

    def parted(
        self, instructions: Sequence[Any], answers: Sequence[str]
    ) -> list[tuple[Tokens, int]]:
        """Return the tokens of each row but the one that ends it, and where its answer begins."""
        if not all(isinstance(text, str) for text in instructions):
            raise DataError("the instruction is missing")
        keys = [*zip(instructions, answers, strict=True)]
        found = {key: self.known[key] for key in keys if key in self.known}
        new = [key for key in dict.fromkeys(keys) if key not in found]
        if new:
            before = [self.before(instruction) for instruction, _ in new]
            made = self.tokens.parted(before, [answer for _, answer in new])
            found |= zip(new, made, strict=True)
            if len(self.known) > MOST_KNOWN:
                self.known.clear()
            self.known.update(found)
        return [found[key] for key in keys]

    def pieces(self, frame: pd.DataFrame) -> list[list[str]]:
        """Return the text of each token of the answers in a file; none where it is not known."""
        instructions, answers = frame[INSTRUCTION].tolist(), frame[str(self.label)].tolist()
        texts = [
            self.before(one) + answer for one, answer in zip(instructions, answers, strict=True)
        ]
        return [
            [text[low:high] for low, high in (whole.spans or ())[start:]]
            for text, (whole, start) in zip(texts, self.parted(instructions, answers), strict=True)
        ]


def answering(
    adapter: ModelAdapter,
    train: Samples,
    preprocess: Preprocess | None,
    seed: int,
    *,
    template: str | None,
) -> TrainedModel:
    """Return a causal language model as one that says how well answers fit.

    Parameters
    ----------
    adapter, train, preprocess, seed
        As `ModelAdapter.trained` takes them; of a torch module, `preprocess` makes token ids of
        texts (`models.tokens.user_tokenize`).
    template : str or None
        What the model reads before an answer, with `{prompt}` for the instruction.

    Raises
    ------
    ConfigError, ModelError
        The model is no causal language model, or there is no tokenizer.
    """
    before: _Template | _Chat = _Template(template)
    if type(adapter).__name__ == "LanguageModel":
        # transformers need not be installed.
        known: Any = adapter
        tokenizer, most, padding = known.tokenizer, known.most, known.tokenizer.pad_token_id or 0
        if preprocess is not None:
            raise ConfigError("preprocess: not with model.path, which has its own tokenizer")
        tokenize, end = transformers_tokenize(tokenizer), tokenizer.eos_token_id
        if template is None and getattr(tokenizer, "chat_template", None):
            before = _Chat(tokenizer)
    elif isinstance(adapter, TorchModel):
        if preprocess is None:
            raise ConfigError(
                "preprocess: needed for language models that are no transformers folder: a "
                f"function from a data frame with the column {TEXT!r} to token ids"
            )
        tokenize = user_tokenize(preprocess, TEXT)
        most, padding = most_at_once(adapter.module) or NO_LIMIT, 0
        end = said_by(adapter.module, ("eos_token_id",))
    else:
        raise ModelError(
            f"the model is none of task {train.task}; expected a causal language model: a torch "
            "module that returns logits [rows, tokens, vocabulary], or a folder that transformers "
            "saved"
        )
    tokens = AnswerTokens(tokenize, INSTRUCTION, most, padding)
    inputs = AnswerInputs(tokens, before, end, train.label_column)
    model = adapter.trained(train, inputs, seed)
    words = "without one that ends them" if end is None else "and the one that ends them"
    return replace(
        model,
        module=AnswerLosses(model.module, ends=end is not None),
        description=f"{model.description}; answers after {before.description}, {words}",
    )


@dataclass(frozen=True)
class _Template:
    """Puts an instruction where `{prompt}` stands."""

    template: str | None

    @property
    def description(self) -> str:
        return "the instruction alone" if self.template is None else "the instruction in template"

    def __call__(self, text: str) -> str:
        return text if self.template is None else self.template.replace("{prompt}", text)


@dataclass(frozen=True)
class _Chat:
    """Puts an instruction into a tokenizer's chat template, as what a user says."""

    tokenizer: Any

    description = "the instruction in the tokenizer's chat template"

    def __call__(self, text: str) -> str:
        messages: Sequence[Mapping[str, str]] = [{"role": "user", "content": text}]
        made: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        # Tokenizing puts it there once more.
        return made.removeprefix(self.tokenizer.bos_token or "")

"""Causal language models as reward models: the reward that DPO fits without naming it.

A model that DPO trained holds an answer for as much better as it has become likelier: the reward is
beta (log p(answer | prompt) - log p_0(answer | prompt)), and p_0 the model that training started
from (Rafailov et al., NeurIPS 2023).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, ModelError
from dataaudit.models.answer_tokens import AnswerTokens
from dataaudit.models.initial import initial_of
from dataaudit.models.outputs import OutputsOf
from dataaudit.models.tokens import token_losses, transformers_tokenize
from dataaudit.models.torch_module import described, mirrorable
from dataaudit.models.trained import Preprocess, TrainedModel, output_tensor
from dataaudit.models.transformers import LANGUAGE_MODELS, most_tokens
from dataaudit.models.transformers_folder import load_folder

WITHOUT_REFERENCE = (
    "No initial weights are given, so that an answer's own log-probability stands for its reward. "
    "DPO's is against the model that training started from: name that in model.initial."
)


class AnswerReward(OutputsOf):
    """A language model that returns the implicit reward of answers, `[rows]`.

    Parameters
    ----------
    inner : torch.nn.Module
        From token ids to logits.
    beta : float
    reference : torch.nn.Module or None
        The model that training started from; None: it counts for nothing.
    """

    def __init__(self, inner: nn.Module, beta: float, reference: nn.Module | None) -> None:
        super().__init__(inner, None, flatten=False)
        # Not registered: no step may move it.
        self.__dict__["_reference"] = (reference,)
        self._beta = beta

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        """Return rewards, `[rows]`; `labels` are the tokens of the answers, else `NOT_SCORED`."""
        inner, reference = self.__dict__["_inner"][0], self.__dict__["_reference"][0]
        seen = {"input_ids": input_ids, "attention_mask": attention_mask}
        losses = token_losses(output_tensor(inner(**seen)), labels).sum(dim=1)
        if reference is not None:
            with torch.no_grad():
                found = output_tensor(reference.to(input_ids.device)(**seen))
            losses = losses - token_losses(found, labels).sum(dim=1)
        return -self._beta * losses


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model of transformers and its tokenizer.

    Attributes
    ----------
    model : transformers.PreTrainedModel
    tokenizer : transformers.PreTrainedTokenizerBase
    most : int
        Tokens of the longest input.
    """

    model: Any
    tokenizer: Any
    most: int

    label_values: None = None
    class_names: None = None
    origin: None = None

    @classmethod
    def load(
        cls, folder: Path, columns: Sequence[str] | None, max_length: int | None
    ) -> LanguageModel:
        """Load what `save_pretrained` wrote into a folder.

        Raises
        ------
        ConfigError, ModelError
            Columns are named, which a pair of answers has by itself; or as `load_folder`.
        """
        if columns is not None:
            raise ConfigError(
                "model.text: not for a language model, which takes the prompt and the answer"
            )
        kind, *also = LANGUAGE_MODELS
        model, tokenizer = load_folder(folder, kind, f"model.path: {folder}", also=tuple(also))
        return cls.of(model, tokenizer, max_length)

    @classmethod
    def of(cls, model: Any, tokenizer: Any, max_length: int | None = None) -> LanguageModel:
        """Join a model with its tokenizer."""
        return cls(model, tokenizer, most_tokens(model.config, tokenizer, max_length))

    def trained(self, train: Samples, preprocess: Preprocess | None, seed: int) -> TrainedModel:
        """Return the model; see `ModelAdapter`. It still returns logits; see `rewarding`."""
        if train.kind.written and preprocess is not None:
            module, note = mirrorable(self.model)
            return TrainedModel(module, preprocess, described(module), note)
        if train.answers is None or preprocess is not None:
            raise ModelError(
                f"the model is a {type(self.model).__name__}, which judges pairs of answers, or "
                "answers to instructions (tasks preference and instruction), without a "
                "preprocess; expected one that ends in ForSequenceClassification or "
                f"ForTokenClassification for task {train.task}"
            )
        module, note = mirrorable(self.model)
        padding = self.tokenizer.pad_token_id or 0
        tokens = AnswerTokens(
            transformers_tokenize(self.tokenizer), train.answers.prompt, self.most, padding
        )
        words = f"prompts and answers of {self.most} tokens at most"
        return TrainedModel(module, tokens, f"{described(module)}; {words}", note)


def rewarding(model: TrainedModel, initial: Any, beta: float) -> TrainedModel:
    """Return a language model that returns rewards of answers.

    Parameters
    ----------
    model : TrainedModel
        Of a `LanguageModel`.
    initial : Path, torch.nn.Module, mapping of name to Tensor, or None
        Where training started.
    beta : float

    Raises
    ------
    ModelError
        The initial weights are not those of the whole model.
    """
    found = initial_of(model.module, initial)
    reference, notes = None, [model.note]
    if found is None:
        notes.append(WITHOUT_REFERENCE)
    else:
        if found.fresh:
            raise ModelError(
                f"model.initial: lacks {', '.join(found.fresh[:5])}; expected the whole model that "
                "DPO started from"
            )
        reference = copy.deepcopy(model.module)
        reference.load_state_dict(dict(found.tensors), strict=False)
        reference.requires_grad_(False)
    return replace(
        model,
        module=AnswerReward(model.module, beta, reference),
        note=" ".join(filter(None, notes)),
    )

"""Texts as tokens, by a transformers tokenizer or the user's own function, and their losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from dataaudit.errors import DataError, ModelError

CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "context_length")
NOT_SCORED = -100
"""Label of tokens whose loss is not wanted, as torch and transformers have it."""


@dataclass(frozen=True)
class Tokens:
    """One text as tokens.

    `spans` are the characters that each token stands for, `(start, stop)`; None where unknown.
    """

    ids: Sequence[int]
    spans: Sequence[tuple[int, int]] | None = None


Tokenize = Callable[[Sequence[str]], list[Tokens]]


def transformers_tokenize(tokenizer: Any) -> Tokenize:
    """Return the tokenizer of a transformers folder as a function.

    Where the tokenizer knows a token that begins a text, each text begins with it, so that the
    text's own first token is predicted from something.
    """
    begin = tokenizer.bos_token_id

    def tokenize(texts: Sequence[str]) -> list[Tokens]:
        fast = bool(tokenizer.is_fast)
        # Long documents are cut into windows later; the tokenizer's warning would be untrue.
        encoded = tokenizer(list(texts), return_offsets_mapping=fast, verbose=False)
        result = []
        for line, ids in enumerate(encoded["input_ids"]):
            spans = encoded["offset_mapping"][line] if fast else None
            if begin is not None and (not ids or ids[0] != begin):
                ids, spans = [begin, *ids], None if spans is None else [(0, 0), *spans]
            result.append(Tokens(ids, spans))
        return result

    return tokenize


def user_tokenize(preprocess: Callable[[pd.DataFrame], Any], text_column: str) -> Tokenize:
    """Return the user's `preprocess` as a tokenizer.

    It is given a data frame with the one column `text_column` and returns token ids, one sequence
    for each row: lists, or a tensor of equal lengths, or a mapping with `input_ids` and, if it
    likes, `attention_mask` (0 = padding) and `offset_mapping` (the characters of each token).
    """

    def tokenize(texts: Sequence[str]) -> list[Tokens]:
        try:
            found = preprocess(pd.DataFrame({text_column: list(texts)}))
            parts = found if isinstance(found, Mapping) else {"input_ids": found}
            rows = [_numbers(row) for row in parts["input_ids"]]
            masks = parts.get("attention_mask")
            spans = parts.get("offset_mapping")
        except Exception as error:
            # The user's own code runs here; whatever it raises, preprocess is what is wrong.
            raise DataError(
                f"preprocess failed on {len(texts)} texts: {type(error).__name__}: {error}; "
                "expected token ids for each text, or a mapping with input_ids"
            ) from error
        if len(rows) != len(texts):
            raise DataError(
                f"preprocess returned token ids for {len(rows)} rows; expected {len(texts)}"
            )
        result = []
        for line, ids in enumerate(rows):
            keep = list(range(len(ids)))
            if masks is not None:
                keep = [place for place, real in enumerate(masks[line]) if int(real)]
            result.append(
                Tokens(
                    [ids[place] for place in keep],
                    None
                    if spans is None
                    else [(int(spans[line][p][0]), int(spans[line][p][1])) for p in keep],
                )
            )
        return result

    return tokenize


def most_at_once(module: nn.Module) -> int | None:
    """Return how many tokens a model says that it takes at once; None where it does not say."""
    found = said_by(module, CONTEXT_NAMES)
    return found if found is not None and found > 1 else None


def said_by(module: nn.Module, names: Sequence[str]) -> int | None:
    """Return the first whole number that a module's config, or itself, has under some names."""
    for owner in (getattr(module, "config", None), module):
        for name in names:
            value = getattr(owner, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
    return None


def model_inputs(module: nn.Module, ids: Tensor, mask: Tensor) -> Tensor | dict[str, Tensor]:
    """Return what a module is called with: with an attention mask where it takes one.

    A causal model needs none for padding on the right, which no token before it can see.

    Parameters
    ----------
    module : torch.nn.Module
    ids, mask : int64 `[rows, tokens]`
        1 = a token.
    """
    parameters = inspect.signature(module.forward).parameters
    if "input_ids" not in parameters:
        return ids
    if "attention_mask" not in parameters:
        return {"input_ids": ids}
    return {"input_ids": ids, "attention_mask": mask}


def checked_logits(logits: Tensor, ids: Tensor) -> Tensor:
    """Return `logits`, once it is sure that they are `[rows, tokens, vocabulary]`."""
    if logits.ndim != 3 or tuple(logits.shape[:2]) != tuple(ids.shape):
        raise ModelError(
            f"the model returned outputs of shape {tuple(logits.shape)} for token ids of shape "
            f"{tuple(ids.shape)}; expected logits [rows, tokens, vocabulary]"
        )
    largest = int(ids.max())
    if largest >= logits.shape[2]:
        raise ModelError(
            f"token id {largest} is beyond the model's vocabulary of {logits.shape[2]}; "
            "expected the tokenizer that the model was trained with"
        )
    return logits


def completion_start(prompt: Sequence[int], whole: Sequence[int]) -> int:
    """Return the first token of the completion: where prompt and whole text part.

    A tokenizer may join the prompt's last letters with the completion's first; that token then
    belongs to the completion.
    """
    same = 0
    for one, other in zip(prompt, whole, strict=False):
        if one != other:
            break
        same += 1
    # A completion of nothing but tokens of the prompt leaves at least its last one.
    return max(1, min(same, len(whole) - 1))


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of each token in nats, `[rows, tokens]`; 0 where it is not scored.

    Parameters
    ----------
    logits : `[rows, tokens, vocabulary]`
        The model's prediction *after* each token.
    labels : int64 `[rows, tokens]`
        The tokens themselves; they are shifted here. `NOT_SCORED` where no loss is wanted.
    """
    values = logits if logits.dtype == torch.float64 else logits.float()
    losses = functional.cross_entropy(
        values[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=NOT_SCORED
    )
    return functional.pad(losses, (1, 0))


def _numbers(row: Any) -> list[int]:
    values = row.tolist() if hasattr(row, "tolist") else list(row)
    return [int(value) for value in values]

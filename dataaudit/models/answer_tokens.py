"""Rows with a prompt and one answer each as token ids, of which only the answer's are scored."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dataaudit.datasets.answer_pairs import ANSWER
from dataaudit.models.tokens import NOT_SCORED, Tokenize, Tokens, completion_start


@dataclass(frozen=True)
class AnswerTokens:
    """Turns rows with one answer each into token ids.

    Attributes
    ----------
    tokenize : callable
    prompt : str or None
        The column of prompts; the answer follows them as it is.
    most : int
        Tokens of a row. Of longer ones the beginning of the prompt is cut off, and where that is
        not enough, the end of the answer.
    padding : int
        The id of the padding, which goes to the right: no token of a causal model sees it.
    """

    tokenize: Tokenize
    prompt: str | None
    most: int
    padding: int

    def __call__(self, frame: pd.DataFrame) -> dict[str, Tensor]:
        """Return `input_ids`, `attention_mask` and `labels`, int64 `[rows, tokens]`."""
        answers = frame[ANSWER].tolist()
        prompts = [""] * len(frame) if self.prompt is None else frame[self.prompt].tolist()
        return padded([self.cut(*pair) for pair in self.parted(prompts, answers)], self.padding)

    def parted(self, prompts: list[str], answers: list[str]) -> list[tuple[Tokens, int]]:
        """Return the tokens of prompts with their answers, and where the answers begin."""
        wholes = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        tokenized = zip(self.tokenize(prompts), self.tokenize(wholes), strict=True)
        return [(whole, completion_start(before.ids, whole.ids)) for before, whole in tokenized]

    def cut(self, whole: Tokens, start: int) -> tuple[Tensor, int]:
        """Return the ids of a row that are not too many, and where its answer begins in them."""
        cut = min(max(len(whole.ids) - self.most, 0), start - 1)
        return torch.tensor(whole.ids[cut:])[: self.most], start - cut


def padded(rows: list[tuple[Tensor, int]], padding: int) -> dict[str, Tensor]:
    """Return rows side by side: `input_ids`, `attention_mask` and `labels`, `[rows, tokens]`.

    Parameters
    ----------
    rows : list of (int64 `[tokens]`, int)
        The ids, and the first one that is scored.
    padding : int
    """
    ids = [row for row, _ in rows]
    made = pad_sequence(ids, batch_first=True, padding_value=padding)
    lengths, starts = (
        torch.tensor(values, device=made.device).unsqueeze(1)
        for values in ([len(row) for row in ids], [start for _, start in rows])
    )
    places = torch.arange(made.shape[1], device=made.device)
    inside = places < lengths
    scored = inside & (places >= starts)
    return {
        "input_ids": made,
        "attention_mask": inside.to(made.dtype),
        "labels": made.masked_fill(~scored, NOT_SCORED),
    }


def without_padding(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return rows that `padded` made, as narrow as the longest of them allows."""
    width = int(inputs["attention_mask"].sum(dim=1).max())
    return {name: values[:, :width] for name, values in inputs.items()}

"""Verbatim memorization: which training passages a language model continues word for word.

A passage is extractable when the model, given its first tokens, goes on with the ones that follow
(Carlini et al., "Quantifying memorization across neural language models", ICLR 2023). Only greedy
continuation is looked at: what a model says with chance is a matter of how often one asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dataaudit.errors import ModelError
from dataaudit.progress import track

NEAR = 0.8
"""Least similarity of a continuation that is not exact, but near."""

Tokens = Sequence[int]
Generate = Callable[[list[list[int]], int], Sequence[Tokens]]
"""(prefixes, number of tokens) -> the greedy continuation of each prefix, without the prefix."""

COLUMNS = ["row_id", "start", "matched_tokens", "similarity", "kind"]


@dataclass(frozen=True)
class Windows:
    """How a passage is asked for.

    Attributes
    ----------
    prefix, continuation : int
        Tokens given, and tokens asked for.
    stride : int
        Tokens from one question to the next in the same passage.
    batch_size : int
        Prefixes given to the model at once.
    """

    prefix: int = 50
    continuation: int = 50
    stride: int = 50
    batch_size: int = 16


def verbatim(
    passages: Sequence[tuple[str | int, Tokens]],
    generate: Generate,
    windows: Windows | None = None,
) -> pd.DataFrame:
    """Ask a language model to continue training passages, and compare with what follows in them.

    Parameters
    ----------
    passages : sequence of (row id, tokens)
        Those shorter than prefix and continuation together are not asked about.
    generate : callable
        Continues prefixes, all of the same length, greedily.
    windows : Windows, optional

    Returns
    -------
    pandas.DataFrame
        One line for each question: `row_id`, `start` (of the prefix, in tokens), `matched_tokens`
        (how many tokens are right until the first wrong one), `similarity` (1 minus the edit
        distance in tokens, relative to the length; 1 is word for word) and `kind` ("exact",
        "near" from a similarity of .8 on, or "none").

    Raises
    ------
    ModelError
        `generate` returns another number of continuations, or shorter ones that are not ended.
    """
    windows = windows or Windows()
    length = windows.prefix + windows.continuation
    questions = [
        (row_id, start, list(tokens[start : start + length]))
        for row_id, tokens in passages
        for start in range(0, len(tokens) - length + 1, windows.stride)
    ]
    lines = []
    batches = range(0, len(questions), windows.batch_size)
    for first in track(batches, "asking for continuations"):
        asked = questions[first : first + windows.batch_size]
        answers = generate([tokens[: windows.prefix] for *_, tokens in asked], windows.continuation)
        if len(answers) != len(asked):
            raise ModelError(
                f"generate returned {len(answers)} continuations for {len(asked)} prefixes; "
                "expected one for each"
            )
        for (row_id, start, tokens), answer in zip(asked, answers, strict=True):
            truth = tokens[windows.prefix :]
            said = [int(token) for token in answer][: windows.continuation]
            similarity = 1 - edit_distance(said, truth) / windows.continuation
            kind = "exact" if said == truth else "near" if similarity >= NEAR else "none"
            lines.append((row_id, start, _matched(said, truth), similarity, kind))
    return pd.DataFrame(lines, columns=COLUMNS)


def _matched(said: Tokens, truth: Tokens) -> int:
    for place, (one, other) in enumerate(zip(said, truth, strict=False)):
        if one != other:
            return place
    return min(len(said), len(truth))


def edit_distance(one: Tokens, other: Tokens) -> int:
    """Return Levenshtein's distance: the fewest insertions, deletions and replacements."""
    before = np.arange(len(other) + 1)
    letters = np.asarray(other, dtype=np.int64)
    for place, token in enumerate(one, 1):
        replaced = before[:-1] + (letters != token)
        row = np.concatenate([[place], np.minimum(before[1:] + 1, replaced)])
        # An insertion costs one more than the entry to the left: a running minimum.
        steps = np.arange(len(row))
        before = np.minimum.accumulate(row - steps) + steps
    return int(before[-1])


def continuations_of(model: object, pad_token: int = 0) -> Generate:
    """Return `generate` for a transformers causal language model.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        With `generate` and `device`, in eval mode.
    pad_token : int
        Fills continuations that end early; prefixes, all of one length, need none.
    """
    import torch

    def generate(prefixes: list[list[int]], tokens: int) -> list[list[int]]:
        inputs = torch.tensor(prefixes, device=model.device)  # type: ignore[attr-defined]
        with torch.inference_mode():
            outputs = model.generate(  # type: ignore[attr-defined]
                inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=pad_token,
            )
        return [
            line[len(prefix) :].tolist() for line, prefix in zip(outputs, prefixes, strict=True)
        ]

    return generate

"""Passages of evaluation texts that stand in training texts, for each named benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.columns import ROWS_PER_READ
from dataaudit.checks.examined import Examined
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.words import text_of
from dataaudit.likeness.passages import RUN, Shared, shared_passages
from dataaudit.likeness.texts import text_key
from dataaudit.report import formats

FEWEST_RUNS = 3
"""Different runs that a text has to share: 15 words in a row, or more."""


class Passages(Check):
    """Holds runs of 13 words of suspects and benchmarks against all training texts.

    Runs that ten training texts or more share are left out. Texts of fewer words count where they
    are the same as a training text.
    """

    name = "passages"
    title = "Passages of evaluation texts in training texts"
    modalities = ("text",)
    serious = True

    def lacking(self, data: Examined) -> str | None:
        """Say that there is nothing to compare with."""
        if not _compared(data):
            return "neither suspects nor benchmarks were given"
        return super().lacking(data)

    def look(self, data: Examined) -> Found:
        """Go through the training texts twice."""
        named = _compared(data)
        texts = {name: list(_texts(samples)) for name, samples in named.items()}
        every = [text for part in texts.values() for text in part]
        shared = shared_passages(every, _texts(data.train))
        same = _same(every, data.train)
        issues: list[Issue] = []
        sentences = []
        start = 0
        for name, samples in named.items():
            found = [
                _issue(name, samples.ids[place], start + place, shared, same, data.train)
                for place in range(len(samples))
            ]
            start += len(samples)
            leaked = [issue for issue in found if issue is not None]
            issues += leaked
            sentences.append(
                f"{name}: {formats.rows(len(leaked), 'text')} of {formats.count(len(samples))} "
                f"({formats.percent(len(leaked) / len(samples))}"
                f"{_word_for_word(leaked)})" + _scored(data.benchmark_scores.get(name), found)
            )
        if not issues:
            return Found(
                f"No passage of {RUN} words or more stands both in an evaluation text and in a "
                "training text, common ones left out."
            )
        return Found(
            f"Evaluation texts that are training texts, or share a passage with one. "
            f"{'; '.join(sentences)}. A score on them is partly a score of memory.",
            sorted(issues, key=lambda issue: -issue.score),
        )


def _word_for_word(leaked: Sequence[Issue]) -> str:
    whole = sum(issue.score >= 1.0 for issue in leaked)
    return f", {formats.count(whole)} of them word for word" if whole else ""


def _scored(scores: NDArray[np.float64] | None, found: Sequence[Issue | None]) -> str:
    """Return what a model scored with and without the texts that were found, in words."""
    if scores is None:
        return ""
    kept = scores[[issue is None for issue in found]]
    without = formats.metric(float(kept.mean())) if len(kept) else "none is left"
    return f", mean score {formats.metric(float(scores.mean()))}, without them {without}"


def _compared(data: Examined) -> dict[str, Samples]:
    given = {} if data.suspects is None else {"suspects": data.suspects}
    return {**given, **data.benchmarks}


def _issue(
    name: str, row_id: Any, number: int, shared: Shared, same: dict[int, int], train: Samples
) -> Issue | None:
    plain = row_id.item() if hasattr(row_id, "item") else row_id
    if number in same:
        return Issue(f"the same as training row {train.ids[same[number]]}", name, 1.0, plain)
    if shared.found[number] < FEWEST_RUNS:
        return None
    share = float(shared.found[number] / shared.runs[number])
    row = train.ids[shared.row[number]]
    what = (
        f"{formats.percent(share)} of its runs of {RUN} words stand in training texts, the first "
        f"in row {row}"
    )
    return Issue(what, name, share, plain)


def _texts(samples: Samples) -> Iterator[str]:
    for frame in samples.source.frames(ROWS_PER_READ):
        for value in frame[samples.content_column]:
            yield text_of(value)


def _same(texts: list[str], train: Samples) -> dict[int, int]:
    """Return which texts are the same as a training text, and the first such.

    Texts without a word are nobody's copy.
    """
    keys = [text_key(text) for text in texts]
    wanted = {key for key, text in zip(keys, texts, strict=True) if text.strip()}
    first: dict[bytes, int] = {}
    for row, text in enumerate(_texts(train)):
        key = text_key(text)
        if key in wanted:
            first.setdefault(key, row)
    return {number: first[key] for number, key in enumerate(keys) if key in first}

"""Answers: the text that follows an instruction, as the places of texts in a list.

All texts are held once, as the classes of other kinds are; a row's label says which of them is its
answer. A planted error may be joined from parts of two of them, so a label is four numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.errors import DataError
from dataaudit.inert import as_it_was
from dataaudit.labels.kind import Kind, Labels, Names, Reading, counted
from dataaudit.labels.values import IGNORED, UNUSABLE, is_ignored, is_missing, named_row, such_rows

TEXT, KEPT, OTHER, SKIPPED = range(4)
"""Columns of labels: the text, how much of its beginning is kept, another text that follows, and
how much of that one's beginning is left out."""
WHOLE = 1000
"""What `KEPT` and `SKIPPED` are shares of."""
AFTER, ALONE, COUNT, END = range(4)
WINDOWS = (4, 16)
"""Tokens: what is foreign in an answer is a stretch of it."""
HINDERED, SURPRISE = slice(4, 4 + len(WINDOWS)), slice(4 + len(WINDOWS), 4 + 2 * len(WINDOWS))
WIDTH = 4 + 2 * len(WINDOWS)
"""Columns of what a model says of given answers: mean losses of an answer's tokens after the
instruction, and alone; how many tokens it has; the last one's loss, 0 where none ends answers; by
how much the instruction hindered, and the loss after it, each in the worst stretch of each length.
Nats a token."""
LENGTHS = 4
"""Ranges of words that answers are counted in, with equally many training rows each."""

AnswerLabels = NDArray[np.int64]
"""`[rows, 4]`; a row whose answer cannot be used is `UNUSABLE` throughout."""


@dataclass(frozen=True)
class InstructionColumns:
    """Which columns of a file hold its instructions.

    Attributes
    ----------
    prompt : str
    input : str or None
        What the instruction is about, where that has a column of its own.
    """

    prompt: str
    input: str | None = None


def instruction_columns(kind: Kind, columns: Mapping[str, Any]) -> InstructionColumns | None:
    """Return the columns that the settings of a split name; None where labels are no answers.

    Parameters
    ----------
    kind : Kind
    columns : mapping
        As `train` in audit.yaml has them.
    """
    return InstructionColumns(columns["prompt"], columns["input"]) if kind.written else None


def as_texts(labels: AnswerLabels, texts: Names) -> NDArray[Any]:
    """Return the answers that labels stand for, `[rows]`; empty where they cannot be used."""
    return np.array([_as_text(label, texts) for label in labels.tolist()], dtype=object)


def _as_text(label: Sequence[int], texts: Names) -> str:
    own, kept, other, skipped = label
    if own < 0:
        return ""
    if kept == WHOLE:
        return str(texts[own])
    first, _ = _parted(str(texts[own]), kept)
    _, second = _parted(str(texts[other]), skipped)
    return f"{first} {second}".strip()


def _parted(text: str, share: int) -> tuple[str, str]:
    """Return the beginning of a text and the rest, parted between words where there are some."""
    place = len(text) * share // WHOLE
    blank = text.find(" ", place)
    place = blank if blank > 0 and share < WHOLE else place
    return text[:place], text[place:].lstrip()


def answers(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Turn answers into labels.

    Parameters
    ----------
    values, ids, where, reading
        As for `Kind.read`; the classes that are known are texts of another split.

    Returns
    -------
    int64 `[n, 4]`, and all texts

    Raises
    ------
    DataError
        An answer is missing, empty, or no text.
    """
    texts = [str(text) for text in reading.classes or ()]
    places = {text: place for place, text in enumerate(texts)}
    labels = np.full((len(values), 4), UNUSABLE, dtype=np.int64)
    for row, value in enumerate(values):
        if is_ignored(value, reading.ignore):
            labels[row] = IGNORED
        elif not reason(value):
            place = places.setdefault(value, len(texts))
            if place == len(texts):
                texts.append(value)
            labels[row] = place, WHOLE, place, WHOLE
    bad = np.flatnonzero(labels[:, TEXT] == UNUSABLE)
    if len(bad) and (not reading.tolerate or len(bad) == len(labels)):
        first = int(bad[0])
        raise DataError(
            f"{where}: {named_row(first, ids)}: {reason(values.iloc[first])} "
            f"({such_rows(len(bad))}); expected a text in every row; with bad_rows.largest_share "
            "such rows are set aside"
        )
    return labels, texts


def reason(value: Any) -> str:
    """Say why a value is no answer; empty where it is one."""
    if is_missing(value, None):
        return "the answer is empty" if value == "" else "the answer is missing"
    if not isinstance(value, str):
        return "the answer is no text"
    return "" if value.strip() else "the answer is empty"


def counts(labels: AnswerLabels, texts: Names, train: AnswerLabels) -> list[tuple[str, int]]:
    """Return the rows in each range between quartiles of the training answers' words."""
    here, there = (_words(part, texts) for part in (labels, train))
    edges = np.unique(np.quantile(there, np.linspace(0, 1, LENGTHS + 1)[1:-1]).astype(int))
    between = [f"{low} to {high - 1} words" for low, high in pairwise(edges.tolist())]
    names = [f"below {edges[0]} words", *between, f"{edges[-1]} words or more"]
    places = np.searchsorted(edges, here, side="right")
    return counted(names, np.bincount(places, minlength=len(names)))


def _words(labels: AnswerLabels, texts: Names) -> NDArray[np.int64]:
    return np.array([len(_as_text(label, texts).split()) for label in labels.tolist()], dtype=int)


def typed(text: str, classes: Sequence[str], given: str) -> str:
    """Return the answer that a person typed."""
    text = as_it_was(text)
    if not text.strip():
        raise ValueError("an answer is expected, found nothing")
    return text


def corrected(after: str, before: str, value: Any, classes: Sequence[str]) -> str:
    """Return the answer."""
    return after


def same(written: str, label: str) -> bool:
    """Compare word by word: another program writes other line ends."""
    return as_it_was(written).split() == label.split()


def no_classes(classes: Names) -> None:
    """Refuse them."""
    raise ValueError("expected no classes for task instruction")


ANSWERS = Kind(
    read=answers,
    shown=as_texts,
    counts=counts,
    typed=typed,
    corrected=corrected,
    reason=reason,
    same=same,
    check_classes=no_classes,
    form="text",
    written=True,
    repeats=False,
    has_classes=False,
)
"""Answers to instructions, which a causal language model reads after them."""

"""Pairs of answers, of which the file says the better one by the column that it stands in.

That would tell the label by the place of the text. So the two are put in an order that a hash of
what they say decides: the same pair stands in the same order in every file and either way round,
and which side is better is a label like another.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pandas as pd

from dataaudit.datasets.around import Around
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.formats import open_source
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError
from dataaudit.labels.preferences import BETTER, PROMPT, SIDES, PairColumns

LEFT, RIGHT = (f"{side} answer" for side in SIDES)
PAIR = "prompt and answers"
"""The column of the whole pair as one text."""
DERIVED = (LEFT, RIGHT, PAIR, BETTER)
ANSWER = "answer"
"""The column that holds one answer where rows are made into a model's inputs,"""
IN_FILE = "answer in the file"
"""and the one that holds what the file has there, where another answer stands in its place."""


@dataclass(frozen=True)
class AnswerPairs(Around):
    """Rows with both answers in an order of their own, and the side of the better one.

    In place of the columns of chosen and rejected answers there are those in `DERIVED`.

    Attributes
    ----------
    source : ColumnSource
    answers : PairColumns
        Of the file.
    """

    answers: PairColumns

    @classmethod
    def over(cls, source: ColumnSource, answers: PairColumns) -> AnswerPairs:
        """Read the answers of a source as texts.

        Raises
        ------
        DataError
            A column is missing, or has a name in `DERIVED`.
        """
        known = source.columns()
        taken = next((name for name in DERIVED if name in known), None)
        if taken is not None:
            raise DataError(
                f"{source.description}: the column {taken!r} has a name that the audit gives to a "
                "column of its own; expected another name (task preference)"
            )
        if answers.prompt == PROMPT and PROMPT not in known:
            answers = replace(answers, prompt=None)
        for name in _texts_of(answers):
            if name not in known:
                raise DataError(
                    f"{source.description}: no column {name!r}; a pair needs one of the chosen and "
                    "one of the rejected answer (`chosen: NAME, rejected: NAME`, and `prompt: NAME`"
                    f" where there is one); the columns are {', '.join(map(repr, known[:20]))}"
                )
            source = source.as_text(name)
        return cls(source, answers)

    def columns(self) -> list[str]:
        """Return the column names, in order."""
        hidden = (self.answers.chosen, self.answers.rejected)
        return [*(name for name in self.source.columns() if name not in hidden), *DERIVED]

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, with only `columns` where given."""
        wanted = self.columns() if columns is None else list(columns)
        own = [name for name in wanted if name not in DERIVED]
        if len(own) < len(wanted):
            own += [name for name in _texts_of(self.answers) if name not in own]
        for frame in self.source.stream(own):
            yield self._seen(frame)[wanted] if len(own) < len(wanted) or own != wanted else frame

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        return self._seen(self.source.take(positions))[self.columns()]

    def as_text(self, column: str) -> Self:
        """Return the same rows with a column as it is written, where types are only guessed."""
        return self if column in DERIVED else replace(self, source=self.source.as_text(column))

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Write the data with the answers of corrected pairs swapped, in its own format."""
        names = (self.answers.chosen, self.answers.rejected)
        positions = changes.positions.tolist()
        swapped = self.source.take(positions)[list(reversed(names))]
        texts = [dict(zip(positions, swapped[name], strict=True)) for name in swapped]
        # One column after the other: a format knows how to write one.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".dataaudit-") as folder:
            half = Path(folder) / f"half{target.suffix}"
            first = replace(samples, source=self.source, label_column=names[0])
            self.source.rewrite(first, Changes.to_values(texts[0]), half)
            rest = AnswerPairs.over(open_source(half), self.answers).source
            second = replace(samples, source=rest, label_column=names[1])
            last = replace(Changes.to_values(texts[1]), dropped=changes.dropped)
            rest.rewrite(second, last, target)

    def _seen(self, frame: pd.DataFrame) -> pd.DataFrame:
        names = self.answers
        empty = [""] * len(frame)
        prompts = empty if names.prompt is None else frame[names.prompt].tolist()
        rows = zip(prompts, frame[names.chosen], frame[names.rejected], strict=True)
        found = pd.DataFrame(
            [_in_order(*row) for row in rows],
            columns=[LEFT, RIGHT, BETTER],
            index=frame.index,
            dtype=object,
        )
        texts = zip(prompts, found[LEFT], found[RIGHT], strict=True)
        found[PAIR] = pd.Series(
            [pair_text(_text(prompt), left, right) for prompt, left, right in texts],
            index=frame.index,
            dtype=object,
        )
        return pd.concat([frame.drop(columns=[names.chosen, names.rejected]), found], axis=1)


def pair_text(prompt: str, left: str, right: str, better: str | None = None) -> str:
    """Return a pair as one text.

    Parameters
    ----------
    prompt : str
        Empty where there is none.
    left, right : str
    better : str or None
        The side that is marked as the better one, where it is.
    """
    parts = [prompt] if prompt else []
    for side, answer in zip(SIDES, (left, right), strict=True):
        mark = ", given as better" if side == better else ""
        parts.append(f"[{side} answer{mark}]\n{answer}")
    return "\n\n".join(parts)


def _texts_of(answers: PairColumns) -> list[str]:
    named = (answers.prompt, answers.chosen, answers.rejected)
    return [name for name in named if name is not None]


def _in_order(prompt: Any, chosen: Any, rejected: Any) -> tuple[str, str, str]:
    """Return the left and the right answer, and the better side, or why there is none."""
    answers = _text(chosen), _text(rejected)
    reason = _unusable(prompt, chosen, rejected)
    if reason is not None:
        return *answers, reason
    # With the prompt: else one of two answers that stand in many rows would always be left.
    swap = _place(prompt, rejected) < _place(prompt, chosen)
    left, right = reversed(answers) if swap else answers
    return left, right, SIDES[swap]


def _place(prompt: str, answer: str) -> bytes:
    whole = f"{prompt}\0{answer}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=16).digest()


def _unusable(prompt: Any, chosen: Any, rejected: Any) -> str | None:
    named = {"prompt": prompt, "chosen answer": chosen, "rejected answer": rejected}
    for name, value in named.items():
        if value is None or value is pd.NA or (isinstance(value, float) and value != value):
            return f"the {name} is missing"
        if not isinstance(value, str):
            return f"the {name} is no text"
        if name != "prompt" and not value.strip():
            return f"the {name} is empty"
    return "both answers are the same" if chosen.split() == rejected.split() else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

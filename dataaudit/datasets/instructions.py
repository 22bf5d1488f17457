"""Instructions and their answers: which columns hold them, and chats of two or more messages.

An instruction may have an input beside it, and a chat holds both in one column: what stands before
the last message is the instruction, and that one the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from dataaudit.datasets.around import Around
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.json_lines import JsonLines
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource
from dataaudit.datasets.words import is_list
from dataaudit.errors import DataError
from dataaudit.labels.answers import InstructionColumns
from dataaudit.labels.preferences import PROMPT

INSTRUCTION = "whole instruction"
"""The column of the instruction with what belongs to it."""
USUAL = ("instruction", "input")


@dataclass(frozen=True)
class Instructions(Around):
    """Rows with an instruction as one text, in the column `INSTRUCTION`, and an answer.

    Attributes
    ----------
    source : ColumnSource
    label : str or None
        The column of answers; of chats, which becomes that of their last messages.
    parts : sequence of str
        The columns that the instruction is joined from; of chats none.
    """

    label: str | None
    parts: Sequence[str]

    @classmethod
    def over(
        cls, source: ColumnSource, label: str | None, columns: InstructionColumns
    ) -> Instructions:
        """Read the columns of a source as texts, or one of them as chats.

        Where no column is called `prompt`, and none is named, those of instruction and input are.

        Raises
        ------
        DataError
            A column is missing, or is called as `INSTRUCTION` is.
        """
        known = source.columns()
        if INSTRUCTION in known:
            raise DataError(
                f"{source.description}: the column {INSTRUCTION!r} has a name that the audit gives "
                "to a column of its own; expected another name (task instruction)"
            )
        if label is not None and label in known and _are_chats(source, label):
            return cls(source, label, ())
        parts = [name for name in (columns.prompt, columns.input) if name is not None]
        if parts == [PROMPT] and PROMPT not in known and USUAL[0] in known:
            parts = [name for name in USUAL if name in known]
        for name in [*([] if label is None else [label]), *parts]:
            if name not in known:
                raise DataError(
                    f"{source.description}: no column {name!r}; an answer needs a column of its "
                    "own, and one of its instruction (`label: NAME, prompt: NAME`, and `input: "
                    "NAME` where there is one), or both stand in one of chat messages (`label: "
                    f"NAME`); the columns are {', '.join(map(repr, known[:20]))}"
                )
            source = source.as_text(name)
        return cls(source, label, tuple(parts))

    def columns(self) -> list[str]:
        """Return the column names, in order."""
        return [*(name for name in self.source.columns() if name not in self.parts), INSTRUCTION]

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, with only `columns` where given."""
        wanted = self.columns() if columns is None else list(columns)
        own = [name for name in wanted if name != INSTRUCTION]
        if INSTRUCTION in wanted:
            own += [name for name in self.parts or (str(self.label),) if name not in own]
        for frame in self.source.stream(own):
            yield self._seen(frame, wanted)

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        return self._seen(self.source.take(positions), self.columns())

    def as_text(self, column: str) -> Self:
        """Return the same rows with a column as it is written, where types are only guessed."""
        return self if column == INSTRUCTION else replace(self, source=self.source.as_text(column))

    def why_not_rewritten(self) -> str | None:
        """Return why corrections cannot be written in this format, or None where they can."""
        if not self.parts and not isinstance(self.source, JsonLines):
            return "chats can be written back as JSON lines alone"
        return self.source.why_not_rewritten()

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Write the data with other answers, in its own format."""
        if not self.parts and len(changes):
            assert changes.values is not None
            texts = [changes.values[place] for place in changes.labels]
            chats = self.source.take(changes.positions.tolist())[self.label]
            new = [
                [*list(chat)[:-1], {**chat[-1], "content": text}]
                for chat, text in zip(chats, texts, strict=True)
            ]
            changes = replace(changes, labels=np.arange(len(new)), values=new)
        self.source.rewrite(replace(samples, source=self.source), changes, target)

    def _seen(self, frame: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
        if INSTRUCTION in wanted:
            if self.parts:
                rows = frame[list(self.parts)].itertuples(index=False, name=None)
                texts = ["\n".join(filter(None, map(_text, row))) or None for row in rows]
            else:
                texts = [_before_the_last(chat) for chat in frame[self.label]]
            made = pd.Series(texts, index=frame.index, dtype=object)
            frame = frame.assign(**{INSTRUCTION: made})
        if not self.parts and self.label in wanted:
            last = [_content(chat[-1]) if is_chat(chat) else None for chat in frame[self.label]]
            content = pd.Series(last, index=frame.index, dtype=object)
            frame = frame.assign(**{str(self.label): content})
        return frame[list(wanted)]


def _are_chats(source: ColumnSource, column: str) -> bool:
    first = next(source.stream([column]), None)
    return first is not None and any(map(is_chat, first[column]))


def is_chat(value: Any) -> bool:
    """Tell whether a cell holds messages: something, and an answer to it."""
    return is_list(value) and len(value) > 1 and all(isinstance(one, Mapping) for one in value)


def _before_the_last(chat: Any) -> str | None:
    """Return the messages before the last; with their roles, where it is more than one question."""
    if not is_chat(chat):
        return None
    before = list(chat)[:-1]
    if len(before) == 1:
        return _content(before[0])
    return "\n".join(f"{message.get('role')}: {_content(message)}" for message in before)


def _content(message: Mapping[str, Any]) -> str | None:
    content = message.get("content")
    return content if isinstance(content, str) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

"""Samples: rows of one role (train, held-out, suspects) with ids and labels, read in batches.

A *source* yields raw tables (`pandas.DataFrame`) block by block; `Samples` adds what the audit
needs to know of them: stable ids, labels as class indices, the classes, the modality. Sources
never hold the whole data set in memory; ids and labels (a few bytes a row) are held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.labels.answers import InstructionColumns
from dataaudit.labels.by_task import KINDS
from dataaudit.labels.consensus import Votes
from dataaudit.labels.kind import Kind
from dataaudit.labels.preferences import PairColumns

ROWS_PER_READ, PICTURES_PER_READ = 2048, 64
MOST_OUTPUTS = 2**24
"""Values of a model's outputs that are held at a time, where rows have one for each pixel."""
TOKENS_AT_ONCE, CHARACTERS_PER_TOKEN, MOST_TOKENS = 8192, 3, 512
"""Of texts, of which a causal language model has an output for each word of its vocabulary; an
instruction is taken to be as long as the longest answer, and a row to have so many at most."""
MOST_INPUT_BYTES = 2**29
"""Of a model's inputs that are made at a time."""

Role = Literal["train", "held_out", "suspects"]
Modality = Literal["table", "text", "image", "tensor"]


class Source(Protocol):
    """Where rows come from. Positions are 0-based and never change between two readings."""

    @property
    def description(self) -> str:
        """What errors call it: a path as the user wrote it, or the Python type."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def frames(self, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, at most `rows_per_frame` at a time, index = positions."""
        ...

    def frames_from(self, start: int, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield the rows from `start` on, `rows_per_frame` at a time, index = positions."""
        ...

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        ...

    def quick_to_take(self, folder: Path) -> Source:
        """Return the same rows, where `take` reads no more than it is asked for.

        Parameters
        ----------
        folder : Path
            For a file of the rows, where the format itself allows no such access.
        """
        ...


@dataclass(frozen=True)
class Batch:
    """Some rows, as the user's file has them.

    Attributes
    ----------
    positions : int64 `[rows]`
        Position of each row in its source.
    ids : `[rows]`
        The row ids, in the type the file has them (integers or strings).
    frame : pandas.DataFrame
        All columns of the file, label and id included: what `preprocess` is given.
    labels : `[rows]`
        int64 class indices for classification, float64 targets for regression; of label sets
        int8 `[rows, L]`, 1 where a label is present; of tokens int16 `[rows, tokens]`, class
        indices and `NOT_JUDGED`.
    """

    positions: NDArray[np.int64]
    ids: NDArray[Any]
    frame: pd.DataFrame
    labels: NDArray[Any]

    def __len__(self) -> int:
        """Return the number of rows in the batch."""
        return len(self.positions)

    def select(self, lines: NDArray[np.int64]) -> Batch:
        """Return the rows on the given lines of this batch, in that order."""
        return Batch(
            self.positions[lines], self.ids[lines], self.frame.iloc[lines], self.labels[lines]
        )


@dataclass(frozen=True)
class Samples:
    """The rows of one role.

    Attributes
    ----------
    role : "train", "held_out" or "suspects"
    source : Source
    ids : `[n]`
        Unique ids: the id column, or the position (int64) where none is named.
    labels : `[n]`
        int64 class indices (classification) or float64 targets (regression); of label sets
        (multi-label) int8 `[n, L]`, 1 where a label is present; of tokens int16 `[n, tokens]`; of
        pixels int16 `[n, height, width]`.
    classes : sequence of str or int
        The label values in the order of the model's outputs; empty for regression.
    label_column, id_column : str or None
    modality : "table", "text", "image" or "tensor"
    content_column : str or None
        The column that holds the text, or the encoded image; None for tables.
    sha256 : str
        Hash of the content of all files read, hex.
    folder : pathlib.Path or None
        What image paths in the content column are relative to, and must not lead out of.
    group_column : str or None
        The column that tells which rows belong together: a patient, a user, a document.
    """

    role: Role
    source: Source
    ids: NDArray[Any]
    labels: NDArray[Any]
    classes: Sequence[str | int]
    label_column: str | None
    id_column: str | None
    modality: Modality
    content_column: str | None
    sha256: str
    folder: Path | None = None
    group_column: str | None = None
    label_columns: Sequence[str] = ()
    """The 0/1 columns that hold a label each, where there are several."""
    separator: str = "|"
    """Between the labels of a text."""
    ignore_label: str | int | None = None
    """The label value of rows (or tokens) that are not to be judged."""
    task: str = "classification"
    """As audit.yaml has it; it says of which kind labels are."""
    labelled: bool = True
    """Whether the rows have labels; those of suspects without any are all 0, and say nothing."""
    votes: Votes | None = None
    """The labels of several annotators, where there are some beside `labels`."""
    other_columns: Sequence[str] = ()
    """Further columns that are no features: annotators' labels, what other models say."""
    answers: PairColumns | None = None
    """The columns of the file that hold pairs of answers, where rows are such."""
    instruction: InstructionColumns | None = None
    """The columns of the file that hold instructions, where labels are their answers."""
    input_bytes: int = 0
    """What one row takes as the model's input; 0 where that was not measured."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    @property
    def kind(self) -> Kind:
        """The kind of label."""
        return KINDS[self.task]

    def rows_at_once(self, most: int) -> int:
        """Return how many rows may be in memory as inputs and outputs of the model, 1 to `most`.

        Fewer where inputs are large, such as pictures of 1,000 pixels a side, and where each pixel
        or token has outputs.
        """
        found = most
        if self.kind.written:
            tokens = min(2 * self._longest_answer // CHARACTERS_PER_TOKEN, MOST_TOKENS) + 1
            found = min(found, TOKENS_AT_ONCE // tokens)
        if self.input_bytes:
            found = min(found, MOST_INPUT_BYTES // self.input_bytes)
        if self.kind.per_pixel:
            values = int(np.prod(self.labels.shape[1:])) * max(2, len(self.classes))
            found = min(found, MOST_OUTPUTS // values)
        return max(found, 1)

    @cached_property
    def _longest_answer(self) -> int:
        """Characters; counted once, because a model that learns asks at every step."""
        return max(map(len, map(str, self.classes)), default=0)

    def special_columns(self) -> set[str]:
        """Return the columns that are no features: labels, id, group and others."""
        named = {
            self.label_column,
            self.id_column,
            self.group_column,
            *self.label_columns,
            *self.other_columns,
        }
        return {name for name in named if name is not None}

    def label_values(self, labels: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return labels as tables show them, `[n]`: class values, numbers, sets or tags as text.

        Parameters
        ----------
        labels : as the attribute `labels`, or None
            None: those of all rows.
        """
        return self.kind.shown(self.labels if labels is None else labels, self.classes)

    def groups(self) -> NDArray[Any]:
        """Return the group of every row, `[n]`; None for those without one."""
        column = self.group_column
        at_once = PICTURES_PER_READ if self.modality == "image" else ROWS_PER_READ
        frames = [frame[column] for frame in self.source.frames(at_once)]
        values = pd.concat(frames).astype(object)
        return values.where(values.notna(), None).to_numpy()

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all rows in order, `batch_size` at a time (the last batch may be shorter)."""
        start = 0
        for frame in self.source.frames(batch_size):
            stop = start + len(frame)
            yield self._batch(np.arange(start, stop), frame)
            start = stop

    def quick_to_take(self, folder: Path) -> Samples:
        """Return the same samples for a stage that takes rows at random; see `Source`."""
        return replace(self, source=self.source.quick_to_take(folder))

    def take(self, positions: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Return the rows at `positions`, in that order."""
        chosen = np.asarray(positions, dtype=np.int64)
        return self._batch(chosen, self.source.take(chosen.tolist()))

    def _batch(self, positions: NDArray[np.int64], frame: pd.DataFrame) -> Batch:
        return Batch(positions, self.ids[positions], frame, self.labels[positions])

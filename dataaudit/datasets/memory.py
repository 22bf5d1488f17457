"""Data that is already in memory as a source: pandas frames, torch data sets, NumPy pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.frames import refuse_repeated
from dataaudit.datasets.hashing import ContentHash
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError

INPUT = "input"
"""The only column of pairs."""
PAIRS_HELD = 64
"""Inputs in memory while they are hashed: a frame for each takes longer than hashing it."""


@dataclass(frozen=True)
class Frame(ColumnSource):
    """The rows of a pandas frame, by position; its index only names them."""

    description: str
    frame: pd.DataFrame

    def __post_init__(self) -> None:
        """Refuse column names that occur twice."""
        refuse_repeated(list(self.frame.columns), self.description)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frame)

    def columns(self) -> list[str]:
        """Return the column names."""
        return list(self.frame.columns)

    def own_ids(self) -> NDArray[Any] | None:
        """Return the index where it names every row by a whole number or text of its own."""
        index = self.frame.index
        if index.nlevels > 1 or not index.is_unique or index.hasnans:
            return None
        kinds = {bool if isinstance(value, bool | np.bool_) else type(value) for value in index}
        if all(issubclass(kind, int | np.integer) and kind is not bool for kind in kinds):
            in_64_bits = len(index) == 0 or -(2**63) <= min(index) <= max(index) < 2**63
            return index.to_numpy(dtype=np.int64, na_value=0) if in_64_bits else None
        texts = index.to_numpy(dtype=object)
        return texts if kinds == {str} and "" not in index else None

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows, with only `columns` where given."""
        yield self.frame if columns is None else self.frame[list(columns)]

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        chosen = self.frame.iloc[list(positions)]
        chosen.index = pd.Index(list(positions), dtype="int64")
        return chosen


@dataclass(frozen=True)
class Pairs:
    """The inputs of (input, label) pairs, as objects in the column `input`.

    A torch data set that augments gives another input at each reading; the audit of such a data
    set is as random as its augmentation.
    """

    description: str
    pairs: Any
    """Has `len()` and `[position]`."""
    whole: bool = False
    """Whether a label may be an array: a mask."""
    several: bool = False
    """Whether it may be a vector: one label after the other, or 0 and 1 for each class."""

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def frames(self, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, `rows_per_frame` at a time, index = positions."""
        return self.frames_from(0, rows_per_frame)

    def frames_from(self, start: int, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield the rows from `start` on, `rows_per_frame` at a time, index = positions."""
        for first in range(start, len(self), rows_per_frame):
            yield self.take(range(first, min(first + rows_per_frame, len(self))))

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        return _objects([self.pair(position)[0] for position in positions], positions)

    def quick_to_take(self, folder: Path) -> Pairs:
        """Return the pairs: each is asked for by its position."""
        return self

    def pair(self, position: int) -> tuple[Any, Any]:
        """Return an input and its label, the label as a plain number or text.

        Raises
        ------
        DataError
            When the item is no pair, or its label is not a single value.
        """
        where = f"{self.description}: item {position}"
        try:
            item = self.pairs[position]
        except Exception as error:
            # The user's own code runs here; whatever it raises, the item is what is wrong.
            raise DataError(f"{where}: {type(error).__name__}: {error}") from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            found = f"{len(item)} values" if isinstance(item, tuple | list) else type(item).__name__
            raise DataError(f"{where}: expected a pair (input, label), found {found}")
        label = item[1]
        if self.whole:
            return item[0], np.asarray(label)
        if hasattr(label, "shape"):
            if self.several and len(label.shape) == 1:
                return item[0], label.tolist()
            if math.prod(label.shape) != 1:
                raise DataError(
                    f"{where}: expected one label, found an array of shape {tuple(label.shape)}"
                )
            label = label.item()
        return item[0], label

    def read(self) -> tuple[list[Any], str]:
        """Return all labels and the hash of all pairs, a few pairs in memory at a time."""
        labels: list[Any] = []
        content = ContentHash()
        for start in range(0, len(self), PAIRS_HELD):
            positions = range(start, min(start + PAIRS_HELD, len(self)))
            values, few = zip(*(self.pair(position) for position in positions), strict=True)
            labels += few
            content.add(_objects(list(values), positions).assign(label=list(few)))
        return labels, content.hexdigest()


@dataclass(frozen=True)
class ArrayPair:
    """Inputs and labels, both by position, as pairs."""

    inputs: Any
    labels: Any
    """None where there are none."""
    rows: int = -1
    """How many; those of the labels where it is not said."""

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.labels) if self.rows < 0 else self.rows

    def __getitem__(self, position: int) -> tuple[Any, Any]:
        """Return one input and its label."""
        return self.inputs[position], None if self.labels is None else self.labels[position]


def is_loader(candidate: object) -> bool:
    """Tell whether `candidate` is a torch DataLoader, without importing torch."""
    return hasattr(candidate, "dataset") and hasattr(candidate, "collate_fn")


def data_set_of(loader: Any, role: str) -> Any:
    """Return the data set behind a torch DataLoader: an audit needs rows with fixed positions.

    Raises
    ------
    DataError
        The loader gives other rows than its data set has, or joins them in a way of its own.
    """
    way = getattr(loader.collate_fn, "__name__", type(loader.collate_fn).__name__)
    if way != "default_collate":
        raise DataError(
            f"{role}: the DataLoader joins rows by its own function {way}; pass loader.dataset, "
            "and a preprocess that joins the inputs"
        )
    drawn = type(loader.sampler).__name__
    if drawn not in ("SequentialSampler", "RandomSampler") or len(loader.sampler) != len(
        loader.dataset
    ):
        raise DataError(
            f"{role}: the DataLoader draws its rows by {drawn}, so that some may be left out or "
            "come twice; pass the data set itself, or a torch.utils.data.Subset of it"
        )
    return loader.dataset


def _objects(values: list[Any], positions: Sequence[int]) -> pd.DataFrame:
    # Filled one by one: NumPy would take a list of arrays apart.
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        column[row] = value
    return pd.DataFrame({INPUT: column}, index=pd.Index(list(positions), dtype="int64"))

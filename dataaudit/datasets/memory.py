"""Data that is already in memory as a source: pandas frames, torch data sets, NumPy pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from dataaudit.datasets.frames import rechunk, refuse_repeated


@dataclass(frozen=True)
class Frame:
    """The rows of a pandas frame; its own index is not used."""

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

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows, with only `columns` where given."""
        yield self.frame if columns is None else self.frame[list(columns)]

    def frames(self, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, `rows_per_frame` at a time, index = positions."""
        return rechunk(self.stream(), rows_per_frame)

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        chosen = self.frame.iloc[list(positions)]
        chosen.index = pd.Index(list(positions), dtype="int64")
        return chosen

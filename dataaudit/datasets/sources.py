"""What every reader of rows with named columns has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.frames import rechunk


class ColumnSource(ABC):
    """A `Source` whose columns can be read apart from each other."""

    description: str
    """What errors call it: a path as the user wrote it, or the Python type."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def columns(self) -> list[str]:
        """Return the column names, in order."""

    @abstractmethod
    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, in frames of any length, with only `columns` where given."""

    @abstractmethod
    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""

    def own_ids(self) -> NDArray[Any] | None:
        """Return what names each row where no column does, unique; None where only positions do."""
        return None

    def frames(self, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, `rows_per_frame` at a time, index = positions."""
        return rechunk(self.stream(), rows_per_frame)

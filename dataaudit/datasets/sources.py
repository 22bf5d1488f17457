"""What every reader of rows with named columns has in common, and what a format is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.files import sha256_of
from dataaudit.datasets.frames import rechunk
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError


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

    def quick_to_take(self, folder: Path) -> ColumnSource:
        """Return the same rows, where `take` reads no more than it is asked for.

        Parameters
        ----------
        folder : Path
            For a file of the rows, where the format itself allows no such access.
        """
        return self

    def frames(self, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, `rows_per_frame` at a time, index = positions."""
        return rechunk(self.stream(), rows_per_frame)

    def frames_from(self, start: int, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield the rows from `start` on, `rows_per_frame` at a time, index = positions."""
        for first in range(start, len(self), rows_per_frame):
            yield self.take(range(first, min(first + rows_per_frame, len(self))))

    def files(self) -> list[Path]:
        """Return the files that hold the rows; none of what is in memory."""
        return []

    def sha256(self) -> str | None:
        """Return the hash of all files, hex; None of what is in memory."""
        files = self.files()
        return sha256_of(files, self.description) if files else None

    def image_root(self) -> Path | None:
        """Return what paths of images are relative to; None where no text is taken for a path."""
        files = self.files()
        return files[0].parent if files else None

    def key_column(self) -> str | None:
        """Return the column that identifies rows where the user names none, or None."""
        return None

    def stored_classes(self, column: str) -> list[str] | None:
        """Return the names that the data stores for the classes of a column, in its order."""
        return None

    def rows_are_files(self) -> bool:
        """Tell whether each row is a file in the folder of its class, in order of their paths."""
        return False

    def members(self) -> Mapping[str, str]:
        """Return the extension of the members that fill each column, where rows are in shards."""
        return {}

    def as_text(self, column: str) -> ColumnSource:
        """Return the same rows with a column as it is written, where types are only guessed."""
        return self

    def categories(self) -> Mapping[str, list[Any]]:
        """Return the values that columns of categories may have, in the order they are stored."""
        return {}

    def note(self) -> str | None:
        """Return what was guessed of how the rows are written, for the report; None: nothing."""
        return None

    def patterns(self) -> list[str]:
        """Return the names, or patterns of names, of the files in a folder of rows."""
        return []

    def why_not_rewritten(self) -> str | None:
        """Return why corrections cannot be written in this format, or None where they can."""
        return None if self.files() or self.patterns() else "data in memory cannot be written back"

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Write the data with other labels to `target`, in its own format.

        Parameters
        ----------
        samples : Samples
            Whose source this is.
        changes : Changes
        target : Path

        Raises
        ------
        DataError
            See `why_not_rewritten`; or the original cannot be read.
        """
        raise DataError(f"{self.description}: {self.why_not_rewritten()}")


@dataclass(frozen=True)
class Format:
    """A way in which rows lie on disk. What it opens also writes corrections into it.

    Attributes
    ----------
    knows : function of path to bool
        Whether there is something of this format at a path.
    open : function of (path, tolerate) to ColumnSource
        `tolerate`: whether values that cannot be read count as missing, where they can be told
        from the rest.
    endings : tuple of str
        Of the names of its files, in lower case.
    """

    knows: Callable[[Path], bool]
    open: Callable[[Path, bool], ColumnSource]
    endings: tuple[str, ...] = ()

    @classmethod
    def of_files(cls, open_file: Callable[[Path, str], ColumnSource], *endings: str) -> Format:
        """Return a format of single files, known by the ending of their names.

        Parameters
        ----------
        open_file : function of (path, description) to ColumnSource
        *endings : str
        """
        return cls(
            knows=lambda path: path.is_file() and path.name.lower().endswith(endings),
            open=lambda path, _: open_file(path, str(path)),
            endings=endings,
        )

"""A source around another one, which changes some of its columns and leaves all else as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from dataaudit.datasets.sources import ColumnSource


@dataclass(frozen=True)
class Around(ColumnSource):
    """The rows of another source. What it does not say itself, that source says.

    Attributes
    ----------
    source : ColumnSource
    """

    source: ColumnSource

    @property
    def description(self) -> str:  # type: ignore[override]
        """What errors call it."""
        return self.source.description

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.source)

    def own_ids(self) -> NDArray[Any] | None:
        """Return what names each row where no column does."""
        return self.source.own_ids()

    def quick_to_take(self, folder: Path) -> Self:
        """Return the same rows, where `take` reads no more than it is asked for."""
        return replace(self, source=self.source.quick_to_take(folder))

    def files(self) -> list[Path]:
        """Return the files that hold the rows."""
        return self.source.files()

    def sha256(self) -> str | None:
        """Return the hash of all files, hex; None of what is in memory."""
        return self.source.sha256()

    def image_root(self) -> Path | None:
        """Return what paths of images are relative to."""
        return self.source.image_root()

    def key_column(self) -> str | None:
        """Return the column that identifies rows where the user names none, or None."""
        return self.source.key_column()

    def categories(self) -> Mapping[str, list[Any]]:
        """Return the values that columns of categories may have, in the order they are stored."""
        return self.source.categories()

    def note(self) -> str | None:
        """Return what was guessed of how the rows are written."""
        return self.source.note()

    def why_not_rewritten(self) -> str | None:
        """Return why corrections cannot be written in this format, or None where they can."""
        return self.source.why_not_rewritten()

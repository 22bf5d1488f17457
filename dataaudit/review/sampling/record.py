"""The draws of a run directory: `sample.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dataaudit.errors import RunDirectoryError
from dataaudit.review.sampling.design import Stratum
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.store import SAMPLE

Count = Annotated[int, Field(ge=0, lt=2**53)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DrawnStratum(_Part):
    """A stratum with what was drawn from it; see `Stratum`."""

    flagged: bool
    first_rank: Count
    last_rank: Count
    rows: Count
    drawn: list[Count]


class Draw(_Part):
    """One draw of rows to review."""

    seed: Count
    strata: list[DrawnStratum]

    @classmethod
    def of(cls, seed: int, strata: Sequence[Stratum]) -> Draw:
        """Return the record of a draw."""
        parts = [DrawnStratum(**{**vars(item), "drawn": list(item.drawn)}) for item in strata]
        return cls(seed=seed, strata=parts)

    @property
    def positions(self) -> set[int]:
        """Positions of all rows drawn."""
        return {place for item in self.strata for place in item.drawn}


class Draws(_Part):
    """All draws of an audit, the latest last."""

    draws: list[Draw]


def read_draws(directory: Path, rows: int) -> list[Draw]:
    """Return the draws that a run directory records; none where nothing was drawn.

    Raises
    ------
    RunDirectoryError
        The file is damaged, or speaks of rows that the audit does not have.
    """
    path = directory / SAMPLE
    if not path.exists():
        return []
    try:
        draws = Draws.model_validate_json(path.read_bytes()).draws
    except (ValidationError, OSError):
        raise RunDirectoryError(
            f"{path}: is no record of drawn rows; remove it, and draw again"
        ) from None
    for draw in draws:
        fits = all(len(item.drawn) <= item.rows for item in draw.strata)
        if not fits or max(draw.positions, default=0) >= rows:
            raise RunDirectoryError(f"{path}: does not fit this audit of {rows:,} rows")
    return draws


def add_draw(directory: Path, rows: int, draw: Draw) -> None:
    """Record one more draw."""
    earlier = [item for item in read_draws(directory, rows) if item != draw]
    text = Draws(draws=[*earlier, draw]).model_dump_json(indent=2) + "\n"
    write_atomically(directory / SAMPLE, lambda path: path.write_text(text, encoding="utf-8"))

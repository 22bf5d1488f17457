"""Memorization as typed data: what `memorization.json` holds, field by field.

`memorization.json` is one `MemorizationReport`; its JSON schema is `memorization.schema.json`
beside this file.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from dataaudit.report.data import Label, SampleId, Section
from dataaudit.report.schema import published
from dataaudit.studies.results import StudyReport


class MemorizedRow(Section):
    """A training row of the long tail."""

    row_id: SampleId
    label: Label
    memorization: float = Field(description="likelihood with minus likelihood without, -1 to 1")
    standard_error: float | None = Field(description="null with two draws only")
    likelihood: float = Field(description="of the row's own label under the trained model")
    likelihood_without: float = Field(description="under models that relearned the other rows")
    text: str | None
    image: str | None = Field(description="data:image/webp;base64,… thumbnail")
    fields: dict[str, str]


class ClassMemorization(Section):
    """How much is memorized of one class."""

    label: Label
    rows: int
    mean: float
    memorized: int = Field(description="rows with memorization of at least one half")


class MemorizationReport(StudyReport):
    """The machine-readable whole: what `memorization.json` holds."""

    rows: int
    memorized: int = Field(description="rows with memorization of at least one half")
    mean: float
    edges: list[float] = Field(description="of the distribution's bins")
    counts: list[int] = Field(description="rows in each bin")
    classes: list[ClassMemorization] = Field(description="empty where there are no classes")
    long_tail: list[MemorizedRow] = Field(description="most memorized first")
    method: str
    forward_passes: float = Field(description="cost, in forward passes of one row")
    settings: dict[str, int | float]


SCHEMA_PATH = Path(__file__).with_name("memorization.schema.json")


def schema_text() -> str:
    """Return the JSON schema of `memorization.json` as the text that is published."""
    return published(MemorizationReport)


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")

"""The comparison as typed data: what `compare.json` holds, field by field.

`compare.json` is one `Comparison`; its JSON schema is `compare.schema.json` beside this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dataaudit.report.data import Estimate, Label, SampleId, Section
from dataaudit.report.schema import published

RowChange = Literal[
    "relabeled",
    "removed",
    "kept by a reviewer",
    "no longer flagged",
    "newly flagged",
    "added",
    "still",
]
Outcome = Literal["met", "not met", "cannot tell"]


class AuditSide(Section):
    """One of the two audits."""

    name: str
    date: str
    train_rows: int
    train_sha256: str
    held_out_sha256: str | None
    suspects_sha256: str | None
    model_sha256: str | None
    rows_flagged: int | None = Field(description="null where labels were not judged")
    suspects_flagged: int | None = Field(description="null where leaks were not looked for")


class ChangedRow(Section):
    """A training row that one of the audits flagged, or both; null where the row is not there."""

    row_id: SampleId
    change: RowChange
    old_label: Label | None
    new_label: Label | None
    old_probability: float | None
    new_probability: float | None


class LabelChanges(Section):
    """What became of rows with doubtful labels."""

    fixed: list[ChangedRow] = Field(description="flagged before; relabeled or removed since")
    kept: list[ChangedRow] = Field(
        description="flagged before and not now, unchanged: a reviewer found the label right"
    )
    dropped: list[ChangedRow] = Field(
        description="flagged before and not now, though nobody changed or decided anything"
    )
    new: list[ChangedRow]
    still: list[ChangedRow]
    rate_old: Estimate | None = Field(description="estimated share of wrong labels")
    rate_new: Estimate | None


class ChangedSuspect(Section):
    """A suspect that one of the audits flagged, or both, with its best match."""

    query_id: SampleId
    old_row_id: SampleId | None
    new_row_id: SampleId | None


class LeakChanges(Section):
    """What became of evaluation samples found in the training set."""

    fixed: list[ChangedSuspect]
    new: list[ChangedSuspect]
    still: list[ChangedSuspect]
    metric_name: str
    metric_old: Estimate | None = Field(description="the metric without the flagged suspects")
    metric_new: Estimate | None


class GateChange(Section):
    """A gate in both audits; null where an audit did not have it, or could not measure it."""

    name: str
    old_found: float | None
    old_limit: float | None
    old_passed: bool | None
    old_outcome: Outcome | None
    new_found: float | None
    new_limit: float | None
    new_passed: bool | None
    new_outcome: Outcome | None


class Comparison(Section):
    """The machine-readable whole of a comparison: what `compare.json` holds."""

    schema_version: Literal["1.0"] = "1.0"
    old: AuditSide
    new: AuditSide
    notes: list[str] = Field(description="what else changed, and makes rates hard to compare")
    labels: LabelChanges | None = Field(description="null where an audit judged no labels")
    leaks: LeakChanges | None = Field(
        description="null where an audit had no suspects, or they cannot be told apart"
    )
    gates: list[GateChange]


SCHEMA_PATH = Path(__file__).with_name("compare.schema.json")


def schema_text() -> str:
    """Return the JSON schema of `compare.json` as the text that is published."""
    return published(Comparison)


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")

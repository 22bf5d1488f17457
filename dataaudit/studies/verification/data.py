"""The verification as typed data: what `verify.json` holds, field by field.

`verify.json` is one `Verification`; its JSON schema is `verify.schema.json` beside this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dataaudit.report.data import Estimate, Section
from dataaudit.report.schema import published
from dataaudit.studies.results import StudyReport

Design = Literal["random", "graded", "halves"]
MirrorKind = Literal["retrained", "rehearsed", "steps"]
Trust = Literal["strong", "fair", "weak", "none"]


class MirrorAgreement(Section):
    """How well one mirror predicts what leaving groups of rows out does to the queries."""

    design: Design = Field(
        description="how groups were drawn: at random; by mirrored score, from the most helpful "
        "to the most harmful rows; or as random halves of the rows"
    )
    mirror: MirrorKind = Field(
        description="training again with the queries added; some steps on the queries among "
        "training rows; or some steps on the queries alone"
    )
    groups: int
    rows_per_group: int
    pearson: Estimate | None = Field(description="over groups × query groups; null: no variation")
    spearman: Estimate | None
    within: Estimate | None = Field(
        description="mean over query groups of Spearman's correlation over groups; for halves the "
        "linear datamodeling score"
    )
    ceiling: float | None = Field(
        description="what a perfect prediction would reach, given the noise of training again; "
        "null where training has no chance in it, or was not repeated"
    )


class QueryGroup(Section):
    """Queries that are asked about together."""

    labels: list[str] = Field(description="their labels, most frequent first")
    queries: int


class Verification(StudyReport):
    """The machine-readable whole of a verification: what `verify.json` holds."""

    trust: Trust
    agreements: list[MirrorAgreement]
    rows: int = Field(description="training rows that were trained on again")
    rows_in_all: int
    query_groups: list[QueryGroup]
    retraining: str = Field(description="the recipe, in words")
    mirrors: dict[MirrorKind, str] = Field(description="how each mirror was made, in words")
    trainings: int
    repeats: int
    trained_accuracy: float | None = Field(description="of the user's model on these queries")
    retrained_accuracy: float | None = Field(description="of the model trained again on all rows")


SCHEMA_PATH = Path(__file__).with_name("verify.schema.json")


def schema_text() -> str:
    """Return the JSON schema of `verify.json` as the text that is published."""
    return published(Verification)


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")

"""The rows of a draw on the page, so that they can be decided there."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dataaudit.datasets.samples import Samples
from dataaudit.report.data import Drawn, DrawnPart, FlaggedRow
from dataaudit.report.label_findings import plain_label
from dataaudit.report.samples import SamplePool, plain_id
from dataaudit.report.steps import open_steps
from dataaudit.review.sampling.design import Stratum
from dataaudit.review.written import write_report
from dataaudit.run_directory.finished import FinishedAudit
from dataaudit.stages.evidence import EXHIBIT_SIDE, exhibits_of

ROWS_SHOWN = 500
SAMPLE_BYTES, PICTURE_BYTES = 500_000, 1_500_000
"""What they may take of the page."""


def write_drawn(
    audit: FinishedAudit, samples: Samples, seed: int, strata: Sequence[Stratum]
) -> None:
    """Put the draw into `audit.json`, and render the page again."""
    report = audit.report
    if report.labels is None:
        return
    known = {str(row.row_id) for row in report.labels.rows}
    table = audit.mislabels
    ids = [plain_id(value) for value in table["row_id"].tolist()]
    drawn = sorted(
        (place for item in strata for place in item.drawn), key=table["rank"].tolist().__getitem__
    )
    lacking = [place for place in drawn if str(ids[place]) not in known]
    shown = lacking[:ROWS_SHOWN]
    pool = SamplePool(SAMPLE_BYTES, PICTURE_BYTES)
    exhibits = exhibits_of(samples, shown, side=EXHIBIT_SIDE)
    rows = [_row(table, place, pool.add(item)) for place, item in zip(shown, exhibits, strict=True)]
    parts = [
        DrawnPart(flagged=item.flagged, rows=item.rows, drawn=[ids[place] for place in item.drawn])
        for item in strata
    ]
    report = report.model_copy(
        update={
            "drawn": Drawn(seed=seed, parts=parts, shown=rows, left_out=len(lacking) - len(shown)),
            "samples": report.samples | pool.samples,
        }
    )
    report = report.model_copy(update={"next_steps": open_steps(report)})
    write_report(audit.directory, report)


def _row(table: pd.DataFrame, place: int, sample: str | None) -> FlaggedRow:
    line = table.iloc[place]
    return FlaggedRow(
        row_id=plain_id(line["row_id"]),
        given_label=plain_label(line["given_label"]),
        suggested_label=plain_label(line["suggested_label"]),
        note="",
        score=float(line["score"]),
        probability=float(line["probability"]),
        flagged=bool(line["flagged"]),
        rank=int(line["rank"]),
        signals={},
        sample=sample,
        against=[],
        neighbours=[],
        likeliest=[],
        look_alikes=[],
    )

"""Who gave the labels: for `audit.json`, and as a table on the page."""

from __future__ import annotations

import math

from dataaudit.flags.results import AnnotatorFacts
from dataaudit.report import formats
from dataaudit.report.data import Annotator, Annotators
from dataaudit.report.page_parts import Table
from dataaudit.report.samples import clean_text, plain_id

LISTED = 100
ROWS_ONCE_MORE = 20


def annotator_findings(facts: AnnotatorFacts | None) -> Annotators | None:
    """Return what the report holds of the annotators; None where there are none."""
    if facts is None:
        return None
    least_sure = facts.consensus.nsmallest(ROWS_ONCE_MORE, "once_more")["row_id"]
    return Annotators(
        alpha=facts.alpha,
        believed=facts.believed,
        annotators=[
            Annotator(
                name=clean_text(str(line.annotator)),
                labels=int(line.labels),
                quality=float(line.quality),
                agreement=None if math.isnan(line.agreement) else float(line.agreement),
            )
            for line in facts.annotators.head(LISTED).itertuples(index=False)
        ],
        left_out=max(0, len(facts.annotators) - LISTED),
        once_more=[plain_id(row_id) for row_id in least_sure],
    )


def view_annotators(found: Annotators | None) -> tuple[str, Table] | None:
    """Return a paragraph and the table of annotators; None where there are none."""
    if found is None:
        return None
    agreement = (
        "How far annotators agree cannot be told: no row was labelled twice."
        if found.alpha is None
        else f"Krippendorff's alpha of their labels is {found.alpha:.2f} (1: they always agree, "
        "0: as by chance)."
    )
    rows = ", ".join(str(row_id) for row_id in found.once_more)
    table = Table(
        "Annotators, the worst first",
        ["annotator", "labels", "expected right", "the consensus"],
        [
            [
                item.name,
                formats.count(item.labels),
                formats.percent(item.quality),
                "—" if item.agreement is None else formats.percent(item.agreement),
            ]
            for item in found.annotators
        ],
        frozenset({1, 2, 3}),
    )
    more = f" annotators.parquet holds {found.left_out:,} more." if found.left_out else ""
    return (
        f"{agreement} The rows to be annotated once more, the least sure first: {rows}. "
        f"consensus.parquet ranks all rows.{more}",
        table,
    )

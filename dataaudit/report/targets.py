"""What the report shows of a regression: targets against what the model expects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from dataaudit.flags.results import MislabelFlags
from dataaudit.report import formats
from dataaudit.report.charts.drawing import WIDTH, Scale, svg, ticks
from dataaudit.report.data import LabelFindings, TargetPoint
from dataaudit.report.page_parts import Figure, Table

POINTS = 400
"""Flagged rows, and as many others, that are drawn."""
TARGETS_IN_TABLE = 50
LEFT, TOP, BOTTOM = 56, 28, 250
OUTER = 0.005
"""This share of the points at either end may lie on the chart's border."""


def target_points(flags: MislabelFlags) -> list[TargetPoint]:
    """Return the most suspicious flagged rows, others evenly; none unless it is a regression."""
    if flags.predicted is None:
        return []
    table = flags.table
    flagged = np.flatnonzero(table["flagged"])
    flagged = flagged[np.argsort(table["rank"].to_numpy()[flagged])][:POINTS]
    kept = np.flatnonzero(~table["flagged"].to_numpy(dtype=bool))
    if len(kept) > POINTS:
        kept = kept[np.linspace(0, len(kept) - 1, POINTS).astype(np.int64)]
    return [
        TargetPoint(
            expected=float(flags.predicted[line]),
            given=float(table["given_label"].iloc[line]),
            flagged=bool(table["flagged"].iloc[line]),
        )
        for line in [*kept.tolist(), *flagged.tolist()]
    ]


def view_targets(labels: LabelFindings) -> Figure | None:
    """Return the chart of residuals by prediction, with the flagged targets as a table."""
    if not labels.targets:
        return None
    return Figure(
        "How far targets lie from what the model expects",
        "Each point is a training row: across, the prediction of the model that learned again; up, "
        "the given target minus it. Rows far beyond the rest are drawn on the border.",
        residual_chart(
            "residuals",
            "Targets of training rows against what the model expects",
            [point.expected for point in labels.targets],
            [point.given - point.expected for point in labels.targets],
            [point.flagged for point in labels.targets],
        ),
        Table(
            "Flagged targets, the most suspicious first",
            ["row", "given", "expected", "difference"],
            [
                [
                    str(row.row_id),
                    formats.label(row.given_label),
                    formats.label(row.suggested_label),
                    formats.number(float(row.given_label) - float(row.suggested_label)),
                ]
                for row in labels.rows[:TARGETS_IN_TABLE]
                if row.flagged
            ],
            frozenset({1, 2, 3}),
        ),
    )


def residual_chart(
    name: str,
    title: str,
    expected: Sequence[float],
    residuals: Sequence[float],
    flagged: Sequence[bool],
) -> Markup:
    """Draw a point for each row: prediction across, residual up, flagged rows in their colour.

    Parameters
    ----------
    name : str
        Unique on the page; ids are made from it.
    title : str
    expected, residuals : `[rows]`
        In the targets' unit.
    flagged : `[rows]`
    """
    low, high = np.quantile(expected, [OUTER, 1 - OUTER])
    largest = float(np.quantile(np.abs(residuals), 1 - OUTER)) or 1.0
    across = Scale(float(low), float(high), LEFT, WIDTH - 12)
    up = Scale(-largest, largest, BOTTOM, TOP)
    parts = [*_axes(across, up)]
    for x, y, is_flagged in zip(expected, residuals, flagged, strict=True):
        parts.append(
            Markup('<circle class="{}-area" cx="{}" cy="{}" r="{}"/>').format(
                "flagged" if is_flagged else "kept", across(x), up(y), 3 if is_flagged else 2
            )
        )
    count = sum(flagged)
    description = (
        f"{formats.rows(len(expected), 'training row')}, {formats.count(count)} of them flagged. "
        f"Predictions from {formats.number(float(low))} to {formats.number(float(high))}; "
        f"differences up to {formats.number(largest)} either way."
    )
    return svg(name, BOTTOM + 44, title, description, parts)


def _axes(across: Scale, up: Scale) -> list[Markup]:
    line = Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    parts = [
        line.format(across.start, across.stop, BOTTOM, BOTTOM),
        line.format(across.start, across.stop, up(0), up(0)),
        Markup('<text x="{}" y="16">difference from the prediction</text>').format(LEFT),
        Markup('<text x="{}" y="{}" text-anchor="end">prediction</text>').format(
            across.stop, BOTTOM + 36
        ),
    ]
    for tick in ticks(across.low, across.high, 4):
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
                min(across(tick), across.stop - 14), BOTTOM + 18, formats.set_number(tick)
            )
        )
    for tick in ticks(up.low, up.high, 4):
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
                LEFT - 6, up(tick) + 4, formats.set_number(tick)
            )
        )
    return parts

"""The data that the page's script works with: flagged rows and budgets, as compact JSON.

Rows are arrays, samples and labels are referred to by position: with 5,000 rows every repeated
word counts.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from markupsafe import Markup

from dataaudit.report import formats
from dataaudit.report.data import (
    AuditReport,
    BudgetPoint,
    FlaggedRow,
    Label,
    LabelFindings,
    Reference,
    Sample,
)

Item = TypeVar("Item", bound=Hashable)

ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def island(data: object) -> Markup:
    """Return JSON that cannot end its `<script>` element, whatever text it holds."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    return Markup(text)


def page_data(report: AuditReport, places: Sequence[tuple[float, float]]) -> dict[str, object]:
    """Return what the script needs.

    Parameters
    ----------
    report : AuditReport
    places : sequence of (x, y)
        Where each budget lies in the chart of expected finds.
    """
    labels = report.labels
    if labels is None:
        return {"rows": [], "budgets": []}
    keys = _positions(key for row in labels.rows for key in _keys(row))
    notes = _positions(item.note for row in labels.rows for item in _references(row))
    names = list(dict.fromkeys(name for row in labels.rows for name in row.signals))
    ordered = label_order(labels)
    label_positions = _positions(ordered)

    def refer(references: Sequence[Reference]) -> list[list[int]]:
        return [[keys[item.sample], notes[item.note]] for item in references]

    return {
        "labels": [formats.label(label) for label in ordered],
        "signals": [formats.words(name) for name in names],
        "notes": list(notes),
        "samples": [compact_sample(report.samples[key]) for key in keys],
        "rows": [
            [
                row.row_id,
                label_positions[row.given_label],
                label_positions[row.suggested_label],
                round(row.probability, 4),
                formats.percent(row.probability),
                int(row.flagged),
                row.rank,
                -1 if row.sample is None else keys[row.sample],
                refer(row.against),
                refer(row.neighbours),
                [
                    [formats.number(value.value), min(round(100 * value.percentile, 1), 99.9)]
                    if (value := row.signals.get(name))
                    else None
                    for name in names
                ],
                *([row.note] if row.note else []),
            ]
            for row in labels.rows
        ],
        "budgets": [
            [x, y, *budget_words(point, labels)]
            for point, (x, y) in zip(labels.expected_precision, places, strict=True)
        ],
    }


def compact_sample(sample: Sample) -> list[object]:
    """Return a sample as the script reads it."""
    return [
        sample.sample_id,
        sample.label,
        sample.image or "",
        sample.text or "",
        list(sample.fields.items()),
    ]


def budget_words(point: BudgetPoint, labels: LabelFindings) -> list[str]:
    """Return a budget in words: rows reviewed, wrong ones found, precision, share of all."""
    total = labels.expected_precision[-1].expected_found
    recall = formats.percent(min(point.expected_found / total, 1.0)) if total > 0 else "0%"
    return [
        formats.count(point.budget),
        formats.count(point.expected_found),
        formats.percent(point.expected_precision),
        recall,
    ]


def label_order(labels: LabelFindings) -> list[Label]:
    """Return all labels on the page: classes in their own order, targets by size."""
    known = [item.label for item in labels.per_class]
    used = [label for row in labels.rows for label in (row.given_label, row.suggested_label)]
    others = sorted(set(used) - set(known), key=lambda label: (isinstance(label, str), label))
    return list(dict.fromkeys([*known, *others]))


def _positions(items: Iterable[Item]) -> dict[Item, int]:
    """Return where each different item stands in the order of first appearance."""
    return {item: position for position, item in enumerate(dict.fromkeys(items))}


def _references(row: FlaggedRow) -> list[Reference]:
    return [*row.against, *row.neighbours]


def _keys(row: FlaggedRow) -> list[str]:
    own = [] if row.sample is None else [row.sample]
    return own + [reference.sample for reference in _references(row)]

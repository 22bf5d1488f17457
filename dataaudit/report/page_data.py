"""The data that the page's script works with, as compact JSON.

Rows are arrays, samples and labels are referred to by position: with 5,000 rows every repeated
word counts. Ids that JavaScript's numbers cannot hold go in as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from markupsafe import Markup

from dataaudit.labels.by_task import KINDS
from dataaudit.labels.kind import Kind
from dataaudit.labels.sets import SETS
from dataaudit.report import formats
from dataaudit.report.data import (
    AuditReport,
    BudgetPoint,
    FlaggedRow,
    Label,
    LabelFindings,
    LeakPair,
    Reference,
    Sample,
    SampleId,
    exact_id,
)
from dataaudit.report.differences import Piece, text_pieces
from dataaudit.report.page_words import difference_note, kind_title, reason_of

Item = TypeVar("Item", bound=Hashable)
Stop = tuple[BudgetPoint, tuple[float, float]]

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


def page_data(report: AuditReport, stops: Sequence[Stop]) -> dict[str, object]:
    """Return what the script needs.

    Parameters
    ----------
    report : AuditReport
    stops : sequence of (BudgetPoint, (x, y))
        The stops of the budget slider, each with where it lies in the chart of expected finds.
    """
    labels, leakage = report.labels, report.leakage
    rows = all_rows(report)
    leaks = leakage.pairs if leakage else []
    contradictions = leakage.disagreeing_rows if leakage else []
    used = [
        *(key for row in rows for key in _keys(row)),
        *(key for pair in leaks for key in (pair.suspect, pair.row) if key),
        *(key for pair in contradictions for key in (pair.sample, pair.other_sample) if key),
    ]
    keys = _positions(used)
    notes = _positions(item.note for row in rows for item in _references(row))
    names = list(dict.fromkeys(name for row in rows for name in row.signals))
    hashes = {item.role: item.sha256 for item in report.identity.splits}
    ordered = all_labels(report)
    positions = {text: place for place, (text, _) in enumerate(ordered)}

    def place(key: str | None) -> int:
        return -1 if key is None else keys[key]

    def refer(references: Sequence[Reference]) -> list[list[int]]:
        return [[keys[item.sample], notes[item.note]] for item in references]

    return {
        "name": report.identity.name,
        "task": report.identity.task,
        "hash": hashes.get("train", ""),
        "suspectsHash": hashes.get("suspects", ""),
        "labels": [[shown, text] for text, shown in ordered],
        "classes": len(_classes(report)) if kind_of(report).one_class else 0,
        "signals": [formats.words(name) for name in names],
        "notes": list(notes),
        "samples": [compact_sample(report.samples[key]) for key in keys],
        "rows": [
            [
                exact_id(row.row_id),
                positions[str(row.given_label)],
                positions[str(row.suggested_label)],
                round(row.probability, 4),
                formats.percent(row.probability),
                int(row.flagged),
                row.rank,
                place(row.sample),
                refer(row.against),
                refer(row.neighbours),
                [
                    [formats.number(value.value), min(round(100 * value.percentile, 1), 99.9)]
                    if (value := row.signals.get(name))
                    else None
                    for name in names
                ],
                row.note,
                round(row.score, 6),
                [
                    [positions[str(item.label)], formats.percent(item.probability)]
                    for item in row.likeliest
                    if str(item.label) in positions
                ],
                reason_of(row),
            ]
            for row in rows
        ],
        "leaks": [_leak(pairs, place, report.samples) for pairs in _by_suspect(leaks)],
        "extra": 0 if report.drawn is None else len(report.drawn.shown),
        "drawn": _drawn(report),
        "contradictions": [
            [
                [exact_id(row_id), positions[str(label)], place(key)]
                for row_id, label, key in (
                    (pair.row_id, pair.label, pair.sample),
                    (pair.other_row_id, pair.other_label, pair.other_sample),
                )
            ]
            for pair in contradictions
        ],
        "logged": [
            [
                item.what,
                exact_id(item.row_id),
                item.decision,
                "" if item.after is None else str(item.after),
                item.reviewer,
            ]
            for item in report.remediation
        ],
        "totals": {
            "rows": labels.rows_flagged if labels else 0,
            "leaks": leakage.suspects_flagged if leakage else 0,
        },
        "budgets": [
            [x, y, *budget_words(point, labels)] for point, (x, y) in stops if labels is not None
        ],
    }


def all_rows(report: AuditReport) -> list[FlaggedRow]:
    """Return the rows on the page: those of the ranking, then others that were drawn."""
    ranked = report.labels.rows if report.labels else []
    return [*ranked, *(report.drawn.shown if report.drawn else [])]


def _drawn(report: AuditReport) -> dict[str, object] | None:
    drawn, labels = report.drawn, report.labels
    if drawn is None or labels is None:
        return None
    claimed = labels.noise_rate
    if report.reviewed_sample is not None:
        claimed = report.reviewed_sample.noise_rate_claimed
    return {
        "parts": [
            [int(part.flagged), part.rows, [exact_id(row_id) for row_id in part.drawn]]
            for part in drawn.parts
        ],
        "claimed": "" if claimed is None else formats.percent(claimed.estimate),
    }


def compact_sample(sample: Sample) -> list[object]:
    """Return a sample as the script reads it."""
    return [
        exact_id(sample.sample_id),
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
        formats.rows(point.budget),
        formats.count(point.expected_found),
        formats.percent(point.expected_precision),
        recall,
    ]


def all_labels(report: AuditReport) -> list[tuple[str, str]]:
    """Return all labels on the page, each as the audit writes it and as the page shows it.

    Classes come first, in the order of the model's outputs; then others, targets by size.
    """
    rows = all_rows(report)
    pairs = report.leakage.disagreeing_rows if report.leakage else []
    used = [label for row in rows for label in (row.given_label, row.suggested_label)]
    used += [label for pair in pairs for label in (pair.label, pair.other_label)]
    others = sorted(set(used), key=lambda label: (isinstance(label, str), label))
    labels = {str(label): formats.label(label) for label in [*_classes(report), *others]}
    return list(labels.items())


def _classes(report: AuditReport) -> list[Label]:
    """Return the classes in the order of the model's outputs."""
    if not kind_of(report).has_classes:
        return []
    counts = report.composition.counts
    return list(dict.fromkeys(item.label for item in counts if item.split == "train"))


def kind_of(report: AuditReport) -> Kind:
    """Return the kind of label that a report speaks of."""
    # A file may name a task of a later version.
    return KINDS.get(report.identity.task, SETS)


def _by_suspect(pairs: Iterable[LeakPair]) -> list[list[LeakPair]]:
    """Return the pairs of each suspect together, in the order of their first."""
    suspects: dict[SampleId, list[LeakPair]] = {}
    for pair in pairs:
        suspects.setdefault(pair.query_id, []).append(pair)
    return list(suspects.values())


def _leak(
    pairs: Sequence[LeakPair], place: Callable[[str | None], int], samples: Mapping[str, Sample]
) -> list[object]:
    """Return a suspect with its matches, each with the texts cut where they differ."""
    first = pairs[0]
    matches = []
    for pair in pairs:
        pieces: tuple[list[Piece], list[Piece]] = ([], [])
        suspect = samples[pair.suspect] if pair.suspect else None
        row = samples[pair.row] if pair.row else None
        if suspect and row:
            pieces = text_pieces(suspect.text or "", row.text or "")
        matches.append(
            [
                exact_id(pair.row_id),
                place(pair.row),
                kind_title(pair, suspect, row),
                difference_note(pair, suspect, row),
                formats.p_value(pair.p_value),
                _lengths(pieces[0]),
                _lengths(pieces[1]),
            ]
        )
    return [exact_id(first.query_id), place(first.suspect), matches]


def _lengths(pieces: Sequence[Piece]) -> list[int]:
    """Return lengths of pieces that are the same, differ, are the same, … as JavaScript counts."""
    lengths: list[int] = []
    for piece in pieces:
        if piece.differs != bool(len(lengths) % 2):
            lengths.append(0)
        lengths.append(len(piece.text.encode("utf-16-le")) // 2)
    return lengths


def _positions(items: Iterable[Item]) -> dict[Item, int]:
    """Return where each different item stands in the order of first appearance."""
    return {item: position for position, item in enumerate(dict.fromkeys(items))}


def _references(row: FlaggedRow) -> list[Reference]:
    return [*row.against, *row.neighbours]


def _keys(row: FlaggedRow) -> list[str]:
    own = [] if row.sample is None else [row.sample]
    return own + [reference.sample for reference in _references(row)]

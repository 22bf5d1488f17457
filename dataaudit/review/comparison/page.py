"""The comparison as its template prints it: every number formatted, every chart drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataaudit.report import formats
from dataaudit.report.charts.intervals import noise_rates
from dataaudit.report.data import Estimate
from dataaudit.report.page import GATE_WORDS
from dataaudit.report.page_parts import Figure, KeyFigure, Table
from dataaudit.review.comparison.data import (
    AuditSide,
    ChangedRow,
    ChangedSuspect,
    Comparison,
    GateChange,
    Outcome,
)

ROWS_ON_PAGE = 300


@dataclass(frozen=True)
class Part:
    """A list of rows or suspects under a heading; what asks for nothing is folded."""

    title: str
    is_open: bool
    table: Table | None
    left_out: str


@dataclass(frozen=True)
class ComparisonPage:
    """Everything the template prints."""

    title: str
    subject: str
    scope: str
    advice: str
    headline: str
    style: str
    key_figures: list[KeyFigure]
    notes: list[str]
    gates: Table | None
    figures: list[Figure]
    labels: list[Part]
    leaks: list[Part]
    audits: Table
    date: str


def build_comparison_page(comparison: Comparison) -> ComparisonPage:
    """Return the page of a comparison."""
    labels, leaks = comparison.labels, comparison.leaks
    return ComparisonPage(
        title=f"{comparison.old.name} → {comparison.new.name}"
        if comparison.old.name != comparison.new.name
        else comparison.new.name,
        subject="Two audits compared",
        scope=f"{formats.rows(comparison.old.train_rows, 'training row')} before, "
        f"{formats.count(comparison.new.train_rows)} now",
        advice=_advice(comparison),
        headline=f"{headline(comparison)}.",
        style=_style(comparison),
        key_figures=_key_figures(comparison),
        notes=comparison.notes,
        gates=_gates(comparison.gates),
        figures=_figures(comparison),
        labels=[]
        if labels is None
        else [
            _rows("New", labels.new, "No row is flagged that was not flagged before"),
            _rows("Still flagged", labels.still, "No row is flagged in both audits"),
            _rows("Corrected or removed", labels.fixed, "No flagged row was changed", folded=True),
            _rows("Kept by a reviewer", labels.kept, "No flagged row was found right", folded=True),
            _rows(
                "No longer flagged, though nobody changed them",
                labels.dropped,
                "No row fell below the line by itself",
                folded=True,
            ),
        ],
        leaks=[]
        if leaks is None
        else [
            _suspects("New", leaks.new, "No leak is new"),
            _suspects("Still there", leaks.still, "No leak was found in both audits"),
            _suspects("Fixed", leaks.fixed, "No leak that was found is gone", folded=True),
        ],
        audits=_audits(comparison.old, comparison.new),
        date=formats.long_date(comparison.new.date),
    )


def _advice(comparison: Comparison) -> str:
    """Return what is left to do."""
    rows, suspects = comparison.new.rows_flagged, comparison.new.suspects_flagged
    parts = [formats.rows(rows)] if rows else []
    if suspects:
        parts.append(formats.rows(suspects, "leak"))
    if not parts and rows is None:
        return "Labels were not judged"
    return f"Decide {' and '.join(parts)}" if parts else "Nothing is left to decide"


def headline(comparison: Comparison) -> str:
    """Return the outcome in a sentence."""
    leaks = comparison.leaks
    text = _labels_in_short(comparison)
    if leaks is not None:
        text += (
            f". Leaks: {formats.count(len(leaks.fixed))} fixed, {formats.count(len(leaks.new))} "
            f"new, {formats.count(len(leaks.still))} still there"
        )
    return text


def _labels_in_short(comparison: Comparison) -> str:
    labels = comparison.labels
    if labels is None:
        judged = [side.rows_flagged is not None for side in (comparison.old, comparison.new)]
        which = "one of the audits" if any(judged) else "neither audit"
        return f"Labels: not compared, {which} {'did not judge' if any(judged) else 'judged'} them"
    text = (
        f"Labels: {formats.count(len(labels.fixed))} fixed, {formats.count(len(labels.new))} new, "
        f"{formats.count(len(labels.still))} still flagged"
    )
    if labels.kept:
        text += f", {formats.count(len(labels.kept))} kept by a reviewer"
    if labels.dropped:
        text += (
            f", {formats.count(len(labels.dropped))} no longer flagged though nobody changed them"
        )
    return text


def comparison_lines(comparison: Comparison) -> list[str]:
    """Return the comparison in a few lines, for the terminal."""
    labels = comparison.labels
    lines = [headline(comparison)]
    if labels is not None and labels.rate_old is not None and labels.rate_new is not None:
        lines.append(
            f"training labels wrong: {formats.percent(labels.rate_old.estimate)} "
            f"({formats.share_interval(labels.rate_old)}) before, "
            f"{formats.percent(labels.rate_new.estimate)} "
            f"({formats.share_interval(labels.rate_new)}) now"
        )
    lines += [
        f"gate {gate.name}: {_outcome(gate.old_outcome)} before, {_outcome(gate.new_outcome)} now"
        for gate in comparison.gates
    ]
    return [*lines, *comparison.notes]


def _style(comparison: Comparison) -> str:
    outcomes = [gate.new_outcome for gate in comparison.gates if gate.new_outcome is not None]
    if "not met" in outcomes:
        return "failed"
    return "passed" if outcomes and set(outcomes) == {"met"} else "undecided"


def _outcome(outcome: Outcome | None) -> str:
    return outcome or "not set"


def _key_figures(comparison: Comparison) -> list[KeyFigure]:
    labels, leaks = comparison.labels, comparison.leaks
    figures = []
    if labels is not None:
        fixed, added = labels.fixed, labels.new
        figures = [
            KeyFigure(formats.count(len(fixed)), "flagged rows fixed", _how(fixed), ""),
            KeyFigure(formats.count(len(added)), "rows newly flagged", _how(added), ""),
            KeyFigure(formats.count(len(labels.still)), "rows flagged in both", "", ""),
        ]
    if leaks is not None:
        new = f"{formats.count(len(leaks.new))} new, {formats.count(len(leaks.still))} still there"
        figures.append(KeyFigure(formats.count(len(leaks.fixed)), "leaks fixed", new, "leak"))
    return figures


def _how(rows: Sequence[ChangedRow]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.change] = counts.get(row.change, 0) + 1
    return ", ".join(f"{formats.count(count)} {change}" for change, count in counts.items())


def _figures(comparison: Comparison) -> list[Figure]:
    labels, leaks = comparison.labels, comparison.leaks
    figures = []
    if labels is not None and labels.rate_old is not None and labels.rate_new is not None:
        chart = noise_rates(
            "rates",
            "Estimated share of wrong labels before and now",
            ["before", "now"],
            [labels.rate_old, labels.rate_new],
            None,
        )
        caption = "Estimated share of wrong training labels, with 95% intervals."
        table = _estimates("Estimated share of wrong labels", labels.rate_old, labels.rate_new)
        figures.append(Figure("Wrong labels before and now", caption, chart, table))
    if leaks is not None and leaks.metric_old is not None and leaks.metric_new is not None:
        name = leaks.metric_name
        chart = noise_rates(
            "metric",
            f"{name} without leaks, before and now",
            ["before", "now"],
            [leaks.metric_old, leaks.metric_new],
            None,
        )
        caption = f"{name.capitalize()} without the leaked samples, with 95% intervals."
        table = _estimates(f"{name} without leaks", leaks.metric_old, leaks.metric_new)
        figures.append(Figure(f"{name.capitalize()} before and now", caption, chart, table))
    return figures


def _estimates(title: str, old: Estimate, new: Estimate) -> Table:
    return Table(
        title,
        ["audit", "estimate", "95% interval"],
        [
            [when, formats.metric(item.estimate), formats.share_interval(item)]
            for when, item in (("before", old), ("now", new))
        ],
        frozenset({1, 2}),
    )


def _gates(gates: Sequence[GateChange]) -> Table | None:
    if not gates:
        return None

    def words(gate: GateChange, found: float | None, limit: float | None, outcome: str) -> str:
        if limit is None:
            return outcome
        is_share = gate.name.endswith("_rate")
        measured = formats.percent if is_share else formats.set_number
        as_set = formats.set_percent if is_share else formats.set_number
        said = "not measured" if found is None else measured(found)
        return f"{outcome}: {said}, limit {as_set(limit)}"

    return Table(
        "Limits before and now",
        ["limit", "before", "now"],
        [
            [
                GATE_WORDS.get(gate.name, formats.words(gate.name)),
                words(gate, gate.old_found, gate.old_limit, _outcome(gate.old_outcome)),
                words(gate, gate.new_found, gate.new_limit, _outcome(gate.new_outcome)),
            ]
            for gate in gates
        ],
    )


def _rows(title: str, rows: Sequence[ChangedRow], none: str, *, folded: bool = False) -> Part:
    if not rows:
        return Part(none, not folded, None, "")
    shown = rows[:ROWS_ON_PAGE]
    table = Table(
        f"{title}: rows with doubtful labels",
        ["row", "what happened", "label before", "label now", "probability before", "now"],
        [
            [
                str(row.row_id),
                "flagged in both" if row.change == "still" else row.change,
                "—" if row.old_label is None else formats.label(row.old_label),
                "—" if row.new_label is None else formats.label(row.new_label),
                "—" if row.old_probability is None else formats.percent(row.old_probability),
                "—" if row.new_probability is None else formats.percent(row.new_probability),
            ]
            for row in shown
        ],
        frozenset({4, 5}),
    )
    return Part(f"{title}: {formats.rows(len(rows))}", not folded, table, _left_out(len(rows)))


def _suspects(
    title: str, suspects: Sequence[ChangedSuspect], none: str, *, folded: bool = False
) -> Part:
    if not suspects:
        return Part(none, not folded, None, "")
    table = Table(
        f"{title}: evaluation samples in the training set",
        ["suspect", "training row before", "training row now"],
        [
            [
                str(item.query_id),
                "—" if item.old_row_id is None else str(item.old_row_id),
                "—" if item.new_row_id is None else str(item.new_row_id),
            ]
            for item in suspects[:ROWS_ON_PAGE]
        ],
    )
    count = formats.rows(len(suspects), "suspect")
    return Part(f"{title}: {count}", not folded, table, _left_out(len(suspects)))


def _left_out(count: int) -> str:
    further = count - ROWS_ON_PAGE
    return f"{formats.count(further)} more not on this page: compare.json." if further > 0 else ""


def _audits(old: AuditSide, new: AuditSide) -> Table:
    return Table(
        "The two audits",
        ["audit", "date", "training rows", "content hash (SHA-256)"],
        [
            [f"{when}: {side.name}", formats.long_date(side.date), formats.count(side.train_rows),
             side.train_sha256]
            for when, side in (("before", old), ("now", new))
        ],
        frozenset({2}),
    )  # fmt: skip

"""The page as the templates print it: every number formatted, every chart drawn.

Templates compute nothing. What they need stands here, in words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from pydantic import JsonValue

from dataaudit.report import charts, formats
from dataaudit.report.data import (
    NOT_PROVIDED,
    AuditReport,
    Finding,
    Gate,
    LabelFindings,
    Leakage,
    LeakPair,
    Sample,
)
from dataaudit.report.differences import FieldPair, Piece, field_pairs, text_pieces
from dataaudit.report.findings import expected_found, kinds_in_words
from dataaudit.report.page_data import budget_words, island, label_order, page_data

CLASSES_IN_CHART = 20
ROLE_WORDS = {"train": "training", "held_out": "held-out", "suspects": "suspects"}
GATE_WORDS = {
    "mislabel_rate": "Training labels estimated wrong",
    "contaminated": "Evaluation samples found in the training set",
}
SECTION_WORDS = {
    "labels": "Labels",
    "leakage": "Leakage",
    "identity": "Identity",
    "people": "Supplied by people",
    "composition": "Composition",
    "method": "Method",
    "coverage": "Coverage",
    "remediation": "Remediation log",
    "limits": "Limits and sign-off",
}
KIND_TITLES = {
    "exact": "exact copy",
    "near": "near copy",
    "near, no influence seen": "near copy, no influence seen",
    "influence only": "influence only",
    "none": "no clear match",
}


@dataclass(frozen=True)
class Table:
    """A table of text; `numeric` are the columns aligned to the right."""

    caption: str
    header: list[str]
    rows: list[list[str | Markup]]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Figure:
    """A chart with what it says, and its numbers in a table."""

    title: str
    caption: str
    chart: Markup
    table: Table | None


@dataclass(frozen=True)
class GateView:
    """A gate in words."""

    name: str
    found: str
    limit: str
    passed: bool


@dataclass(frozen=True)
class KeyFigure:
    """One number of the summary, what it counts, and how sure it is."""

    value: str
    label: str
    note: str
    style: str


@dataclass(frozen=True)
class Fact:
    """A name and what is known of it."""

    name: str
    value: str
    missing: bool = False


@dataclass(frozen=True)
class Budget:
    """The budget slider: how many stops it has, where it starts, and what it says there."""

    figure: Figure
    stops: int
    start: int
    words: list[str]


@dataclass(frozen=True)
class LabelsView:
    """The section on labels."""

    introduction: str
    figures: list[Figure]
    budget: Budget | None
    signals: list[Figure]
    given: list[tuple[int, str]]
    suggested: list[tuple[int, str]]
    shown: str
    left_out: str
    method: str


@dataclass(frozen=True)
class Side:
    """One of the two samples of a leaked pair."""

    title: str
    label: str
    image: str | None
    pieces: list[Piece]


@dataclass(frozen=True)
class PairView:
    """A leaked pair, side by side."""

    kind: str
    suspect: Side
    row: Side
    labels_differ: bool
    fields: list[FieldPair]
    facts: list[Fact]
    complete: bool


@dataclass(frozen=True)
class LeakageView:
    """The section on leakage."""

    introduction: str
    figures: list[Figure]
    kinds: list[str]
    pairs: list[PairView]
    left_out: str
    method: str


@dataclass(frozen=True)
class CrosswalkLine:
    """A line of the crosswalk, with links to the sections that are evidence."""

    framework: str
    reference: str
    asks_for: str
    links: list[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """Everything the templates print."""

    name: str
    date: str
    outcome: str
    headline: str
    scope: str
    gates: list[GateView]
    key_figures: list[KeyFigure]
    findings: list[Finding]
    next_steps: list[str]
    labels: LabelsView | None
    leakage: LeakageView | None
    identity: list[Fact]
    splits: Table
    people: list[Fact]
    composition: Table
    imbalance: str
    method: list[Fact]
    thresholds: Table
    settings: Table
    versions: Table
    coverage: list[Fact]
    remediation: Table
    limits: list[str]
    crosswalk: list[CrosswalkLine]
    island: Markup


def build_page(report: AuditReport) -> Page:
    """Return the page of a report."""
    budget, places = _budget(report.labels)
    return Page(
        name=report.identity.name,
        date=formats.long_date(report.identity.date),
        outcome=report.verdict.outcome,
        headline=report.verdict.headline,
        scope=_scope(report),
        gates=[_gate(gate) for gate in report.verdict.gates],
        key_figures=_key_figures(report),
        findings=report.findings,
        next_steps=report.next_steps,
        labels=None if report.labels is None else _labels(report.labels, budget),
        leakage=None if report.leakage is None else _leakage(report.leakage, report.samples),
        identity=_identity(report),
        splits=_splits(report),
        people=_people(report),
        composition=_composition(report),
        imbalance=_imbalance(report),
        method=_method(report),
        thresholds=_thresholds(report),
        settings=_settings(report.method.settings),
        versions=Table(
            "Versions and timings",
            ["", ""],
            [[name, version] for name, version in report.method.versions.items()]
            + [
                [f"time: {formats.words(name)}", f"{formats.number(seconds)} s"]
                for name, seconds in report.method.timings_seconds.items()
            ],
        ),
        coverage=_coverage(report),
        remediation=_remediation(report),
        limits=report.limits,
        crosswalk=[
            CrosswalkLine(
                entry.framework,
                entry.reference,
                entry.asks_for,
                [(section, SECTION_WORDS[section]) for section in entry.sections],
            )
            for entry in report.crosswalk
        ],
        island=island(page_data(report, places)),
    )


def _scope(report: AuditReport) -> str:
    counts = report.counts
    parts = [formats.rows(counts.train, "training row")]
    if counts.held_out:
        parts.append(f"{formats.rows(counts.held_out, 'trusted sample')} to check labels against")
    if counts.suspects:
        parts.append(f"{formats.rows(counts.suspects, 'evaluation sample')} to look for leaks")
    return ", ".join(parts)


def _gate(gate: Gate) -> GateView:
    form = formats.percent if gate.name.endswith("_rate") else formats.number
    found = "not measured" if gate.found is None else form(gate.found)
    name = GATE_WORDS.get(gate.name, formats.words(gate.name))
    return GateView(name, found, form(gate.limit), gate.passed)


def _key_figures(report: AuditReport) -> list[KeyFigure]:
    figures = []
    labels, leakage = report.labels, report.leakage
    if labels is not None and labels.noise_rate is not None:
        figures.append(
            KeyFigure(
                formats.percent(labels.noise_rate.estimate),
                "of training labels estimated wrong",
                f"95% interval {formats.share_interval(labels.noise_rate)}",
                "flagged",
            )
        )
    if labels is not None:
        found = (
            f"about {formats.count(expected_found(labels.expected_precision, labels.rows_flagged))}"
            " of them expected to be wrong"
            if labels.expected_precision and labels.rows_flagged
            else f"of {formats.count(labels.rows_scored)}"
        )
        figures.append(
            KeyFigure(formats.count(labels.rows_flagged), "rows flagged for review", found, "")
        )
    if leakage is not None:
        figures.append(
            KeyFigure(
                formats.count(leakage.suspects_flagged),
                "evaluation samples leaked",
                f"of {formats.count(leakage.suspects)}",
                "leak",
            )
        )
        if leakage.metric_clean is not None and leakage.metric_all is not None:
            figures.append(
                KeyFigure(
                    formats.metric(leakage.metric_clean.estimate),
                    f"{leakage.metric_name} without leaks",
                    f"{formats.metric(leakage.metric_all.estimate)} with them",
                    "",
                )
            )
    return figures


def _labels(labels: LabelFindings, budget: Budget | None) -> LabelsView:
    order = label_order(labels)
    used = [
        {row.given_label for row in labels.rows},
        {row.suggested_label for row in labels.rows},
    ]
    given, suggested = (
        [
            (position, formats.label(label))
            for position, label in enumerate(order)
            if label in labels_used
        ]
        if labels.per_class
        else []
        for labels_used in used
    )
    distributions = [
        Figure(
            formats.words(item.name).capitalize(),
            "Rows flagged and rows kept, each group drawn to the same total.",
            charts.score_distribution(
                f"distribution-{position}",
                f"Distribution of {formats.words(item.name)}",
                item.edges,
                item.kept,
                item.flagged,
                item.threshold,
            ),
            None,
        )
        for position, item in enumerate(labels.histograms)
    ]
    charts_of_classes = [figure for figure in (_per_class(labels), _heat(labels)) if figure]
    flagged = sum(row.flagged for row in labels.rows)
    shown = f"{formats.rows(flagged, 'flagged row')} on this page"
    if len(labels.rows) > flagged:
        shown += f", and the {formats.rows(len(labels.rows) - flagged, 'kept row')} next in line"
    left_out = []
    if labels.rows_left_out:
        left_out.append(
            f"{formats.rows(labels.rows_left_out, 'further flagged row')} not on this page: "
            "mislabels.parquet holds every row."
        )
    if labels.rows_without_evidence:
        left_out.append(
            f"For {formats.rows(labels.rows_without_evidence)} thumbnails or evidence were left "
            "out, to keep this file small."
        )
    return LabelsView(
        introduction=_labels_introduction(labels),
        figures=charts_of_classes + distributions[:1],
        budget=budget,
        signals=distributions[1:],
        given=given,
        suggested=suggested,
        shown=shown + ".",
        left_out=" ".join(left_out),
        method=labels.method,
    )


def _labels_introduction(labels: LabelFindings) -> str:
    return (
        f"{formats.rows(labels.rows_flagged)} of {formats.count(labels.rows_scored)} "
        f"{'has' if labels.rows_flagged == 1 else 'have'} a label that is wrong with a "
        f"probability of {formats.percent(labels.probability_threshold)} or more."
    )


def _per_class(labels: LabelFindings) -> Figure | None:
    if not labels.per_class:
        return None
    worst = sorted(
        labels.per_class, key=lambda item: -(item.noise_rate.estimate if item.noise_rate else 0)
    )
    drawn = worst[:CLASSES_IN_CHART]
    caption = "Estimated share of wrong labels by given class, with 95% intervals."
    if len(worst) > len(drawn):
        caption += f" The {len(drawn)} worst of {len(worst)} classes are drawn."
    return Figure(
        "Which classes are mislabeled most",
        caption,
        charts.noise_per_class(
            "noise-per-class",
            "Estimated share of wrong labels by class",
            [formats.label(item.label) for item in drawn],
            [item.noise_rate for item in drawn],
            labels.noise_rate,
        ),
        Table(
            "Estimated share of wrong labels by class",
            ["class", "rows", "flagged", "wrong", "95% interval"],
            [
                [
                    formats.label(item.label),
                    formats.count(item.rows),
                    formats.count(item.flagged),
                    formats.percent(item.noise_rate.estimate) if item.noise_rate else "—",
                    formats.share_interval(item.noise_rate) if item.noise_rate else "—",
                ]
                for item in worst
            ],
            frozenset({1, 2, 3, 4}),
        ),
    )


def _heat(labels: LabelFindings) -> Figure | None:
    table = labels.noise_table
    if table is None:
        return None
    given = [formats.label(label) for label in table.given]
    true = [formats.label(label) for label in table.true]
    caption = "Expected number of rows by given label (lines) and true label (columns)."
    if table.classes_left_out:
        caption += f" {table.classes_left_out} classes with fewer errors are left out."
    return Figure(
        "What is taken for what",
        caption,
        charts.noise_heat("noise-table", "Given and true labels", given, true, table.rows),
        Table(
            "Expected rows by given (lines) and true label (columns)",
            ["given", *true],
            [
                [label, *(formats.number(round(value, 1)) for value in line)]
                for label, line in zip(given, table.rows, strict=True)
            ],
            frozenset(range(1, len(true) + 1)),
        ),
    )


def _budget(labels: LabelFindings | None) -> tuple[Budget | None, list[tuple[float, float]]]:
    if labels is None or not labels.expected_precision:
        return None, []
    points = labels.expected_precision
    chart, places = charts.expected_found(
        "expected-found",
        "Wrong labels found by the number of rows reviewed",
        [point.budget for point in points],
        [point.expected_found for point in points],
        labels.rows_flagged,
    )
    start = min(
        range(len(points)), key=lambda index: abs(points[index].budget - labels.rows_flagged)
    )
    figure = Figure(
        "How much review pays",
        "Wrong labels found if rows are reviewed most suspicious first.",
        chart,
        Table(
            "Wrong labels found by the number of rows reviewed",
            ["reviewed", "wrong among them", "precision", "of all wrong labels"],
            [list(budget_words(point, labels)) for point in points[:: max(1, len(points) // 12)]],
            frozenset({0, 1, 2, 3}),
        ),
    )
    return Budget(figure, len(points) - 1, start, budget_words(points[start], labels)), places


def _leakage(leakage: Leakage, samples: Mapping[str, Sample]) -> LeakageView:
    figures = []
    if leakage.metric_all is not None and leakage.metric_clean is not None:
        caption = f"{leakage.metric_name.capitalize()} on the suspects, with 95% intervals."
        if leakage.metric_difference is not None:
            difference = leakage.metric_difference
            caption += (
                f" The leaks change it by {formats.points(difference.estimate)} "
                f"(95% interval {formats.points(difference.low)} to "
                f"{formats.points(difference.high)})."
            )
        figures.append(
            Figure(
                f"What the leaks do to {leakage.metric_name}",
                caption,
                charts.metric_comparison(
                    "metric",
                    f"{leakage.metric_name} with and without the leaked samples",
                    leakage.metric_name,
                    leakage.metric_all,
                    leakage.metric_clean,
                ),
                None,
            )
        )
    left_out = (
        f"{formats.rows(leakage.pairs_left_out, 'further pair')} not on this page: "
        "contamination.parquet holds them all."
        if leakage.pairs_left_out
        else ""
    )
    return LeakageView(
        introduction=_leakage_introduction(leakage),
        figures=figures,
        kinds=[KIND_TITLES[item.kind] for item in leakage.kinds],
        pairs=[_pair(pair, samples) for pair in leakage.pairs],
        left_out=left_out,
        method=leakage.method,
    )


def _leakage_introduction(leakage: Leakage) -> str:
    if not leakage.suspects_flagged:
        return (
            f"None of {formats.rows(leakage.suspects, 'suspect')} was found in the training set, "
            f"at a false discovery rate of {formats.percent(leakage.false_discovery_rate)}."
        )
    return (
        f"{formats.count(leakage.suspects_flagged)} of "
        f"{formats.rows(leakage.suspects, 'suspect')} found in the training set: "
        f"{kinds_in_words(leakage.kinds)}. At most "
        f"{formats.percent(leakage.false_discovery_rate)} of them are expected to be false alarms."
    )


def _pair(pair: LeakPair, samples: Mapping[str, Sample]) -> PairView:
    suspect = samples[pair.suspect] if pair.suspect else None
    row = samples[pair.row] if pair.row else None
    pieces: tuple[list[Piece], list[Piece]] = ([], [])
    fields: list[FieldPair] = []
    if suspect is not None and row is not None:
        pieces = text_pieces(suspect.text or "", row.text or "")
        fields = field_pairs(suspect.fields, row.fields)
    facts = [Fact("p-value", formats.p_value(pair.p_value))]
    if pair.content_score is not None:
        facts.append(Fact("content", formats.number(pair.content_score)))
    if pair.influence_score is not None:
        facts.append(Fact("influence", formats.number(pair.influence_score)))
    return PairView(
        kind=KIND_TITLES[pair.kind],
        suspect=_side(f"Suspect {pair.query_id}", suspect, pieces[0]),
        row=_side(f"Training row {pair.row_id}", row, pieces[1]),
        labels_differ=bool(suspect and row and suspect.label != row.label),
        fields=fields,
        facts=facts,
        complete=suspect is not None and row is not None,
    )


def _side(title: str, sample: Sample | None, pieces: list[Piece]) -> Side:
    if sample is None:
        return Side(title, "", None, [])
    return Side(title, sample.label, sample.image, pieces)


def _identity(report: AuditReport) -> list[Fact]:
    about = report.identity.about
    return [
        Fact("Audit", report.identity.name),
        Fact("Date", formats.long_date(report.identity.date)),
        Fact("Task", report.identity.task),
        _supplied("Data set version", about.version),
        _supplied("Licence", about.licence),
        _supplied("Intended purpose", about.purpose),
        _supplied("Auditor", about.auditor),
        _supplied("Model hash (SHA-256)", report.method.model_sha256 or NOT_PROVIDED),
    ]


def _supplied(name: str, value: str) -> Fact:
    return Fact(name, value, missing=value == NOT_PROVIDED)


def _people(report: AuditReport) -> list[Fact]:
    about = report.identity.about
    return [
        _supplied("Provenance", about.provenance),
        _supplied("Collection", about.collection),
        _supplied("Labelling protocol", about.labelling_protocol),
        _supplied("Annotators", about.annotators),
        _supplied("Personal data", about.personal_data),
        _supplied("Known biases", about.known_biases),
        _supplied("Known limits", about.known_limits),
        _supplied("Changes since the last audit", about.changes_since_last_audit),
        _supplied("Residual risk", about.residual_risk),
        _supplied("Signed off by", about.signed_off_by),
    ]


def _splits(report: AuditReport) -> Table:
    return Table(
        "What went into the audit",
        ["split", "source", "rows", "row ids", "content hash (SHA-256)"],
        [
            [
                ROLE_WORDS[split.role],
                split.source,
                formats.count(split.rows),
                split.id_column or "position in the file",
                split.sha256,
            ]
            for split in report.identity.splits
        ],
        frozenset({2}),
    )


def _composition(report: AuditReport) -> Table:
    return Table(
        "Rows per split and class",
        ["split", "class", "rows", "share", ""],
        [
            [
                ROLE_WORDS.get(item.split, item.split),
                formats.label(item.label),
                formats.count(item.rows),
                formats.percent(item.share),
                charts.bar(item.share, "kept"),
            ]
            for item in report.composition.counts
        ],
        frozenset({2, 3}),
    )


def _imbalance(report: AuditReport) -> str:
    parts = [
        f"{formats.number(ratio)} in {ROLE_WORDS.get(split, split)}"
        for split, ratio in report.composition.imbalance.items()
    ]
    return f"Largest class for each row of the smallest: {', '.join(parts)}." if parts else ""


def _method(report: AuditReport) -> list[Fact]:
    method = report.method
    return [
        _supplied("Device", method.device or NOT_PROVIDED),
        *(Fact(f"Seed: {formats.words(k)}", str(v)) for k, v in method.seeds.items()),
    ]


def _thresholds(report: AuditReport) -> Table:
    return Table(
        "Thresholds and why they stand where they stand",
        ["threshold", "value", "reason"],
        [[item.name, formats.number(item.value), item.reason] for item in report.method.thresholds],
        frozenset({1}),
    )


def _settings(settings: Mapping[str, JsonValue]) -> Table:
    return Table(
        "Settings", ["setting", "value"], [[key, value] for key, value in _flat(settings, "")]
    )


def _flat(settings: Mapping[str, JsonValue], prefix: str) -> Sequence[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            lines.extend(_flat(value, f"{prefix}{key}."))
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines.append((prefix + key, text))
    return lines


def _coverage(report: AuditReport) -> list[Fact]:
    coverage = report.coverage
    missing = ", ".join(
        f"{column}: {formats.count(rows)}" for column, rows in coverage.missing_values.items()
    )
    return [
        Fact("Training rows not scored", formats.count(coverage.rows_not_scored)),
        Fact("Suspects not scored", formats.count(coverage.suspects_not_scored)),
        Fact("Failed batches", formats.count(coverage.failed_batches)),
        Fact("Sampling", coverage.sampling),
        Fact("Truncation", coverage.truncation),
        Fact("Missing values", missing or "none"),
        *(Fact("Note", note) for note in coverage.notes),
    ]


def _remediation(report: AuditReport) -> Table:
    return Table(
        "Decisions about flagged rows",
        ["row", "decision", "reviewer", "date", "before", "after"],
        [
            [
                str(item.row_id),
                item.decision,
                item.reviewer,
                item.date,
                formats.label(item.before),
                "—" if item.after is None else formats.label(item.after),
            ]
            for item in report.remediation
        ],
    )

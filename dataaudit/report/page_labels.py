"""The section on labels, as the templates print it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from dataaudit.report import formats
from dataaudit.report.annotators import view_annotators
from dataaudit.report.charts.heat import noise_heat
from dataaudit.report.charts.histogram import score_distribution
from dataaudit.report.charts.intervals import noise_rates
from dataaudit.report.charts.review import expected_found
from dataaudit.report.data import (
    BudgetPoint,
    ClassNoise,
    Estimate,
    FlaggedRow,
    Histogram,
    LabelFindings,
    ReviewedSample,
    Sample,
)
from dataaudit.report.flagged_words import hardly_known, wrong_of_flagged
from dataaudit.report.page_data import Stop, budget_words
from dataaudit.report.page_parts import Figure, Table
from dataaudit.report.targets import view_targets

CLASSES_IN_CHART = 12
CONFUSIONS_ON_PAGE = 8
FIRST_ROWS = 100
"""Rows that stand on the page as HTML, for readers without script."""
EXCERPT = 140
ZOOM = 3
"""The chart of what review finds reaches to so many times the flagged rows."""
CLASSES_IN_TABLE = 200
BUDGETS_IN_TABLE = 12


@dataclass(frozen=True)
class Budget:
    """The budget slider: its chart, how many stops it has, where it starts, what it says there."""

    figure: Figure
    last_stop: int
    start: int
    words: list[str]


@dataclass(frozen=True)
class ConfusionLine:
    """One kind of label error; `target` opens its rows where they are decided."""

    given: str
    true: str
    words: str
    target: str


@dataclass(frozen=True)
class RowLine:
    """A row in a line."""

    name: str
    given: str
    suggested: str
    probability: str
    text: str


@dataclass(frozen=True)
class LabelsView:
    """The section on labels."""

    title: str
    introduction: str
    figures: list[Figure]
    budget: Budget | None
    distributions: list[Figure]
    confusions: list[ConfusionLine]
    first_rows: list[RowLine]
    annotators: tuple[str, Table] | None
    shown: str
    left_out: str


def view_labels(
    labels: LabelFindings,
    samples: Mapping[str, Sample],
    budget: Budget | None,
    reviewed: ReviewedSample | None,
    *,
    pairs: bool = True,
) -> LabelsView:
    """Return the section on labels; without pairs of labels where hardly two rows share one."""
    figures = [
        _claimed_and_reviewed(reviewed),
        _per_class(labels),
        _noise_table(labels),
        view_targets(labels),
        _per_group(labels),
    ]
    return LabelsView(
        title=_title(labels),
        introduction=_introduction(labels),
        figures=[figure for figure in figures if figure is not None],
        budget=budget,
        distributions=[
            _distribution(position, item) for position, item in enumerate(labels.histograms)
        ],
        confusions=_confusions(labels) if pairs else [],
        first_rows=[
            _row_line(row, samples.get(row.sample or "")) for row in labels.rows[:FIRST_ROWS]
        ],
        annotators=view_annotators(labels.annotators),
        shown=_shown(labels),
        left_out=_left_out(labels),
    )


def _claimed_and_reviewed(reviewed: ReviewedSample | None) -> Figure | None:
    """Return what was claimed beside what rows drawn at random have shown."""
    if reviewed is None:
        return None
    precision = reviewed.precision_claimed
    lines = [
        ("all, claimed", reviewed.noise_rate_claimed),
        ("all, reviewed", reviewed.noise_rate),
        (
            "flagged, claim",
            None
            if precision is None
            else Estimate(estimate=precision, low=precision, high=precision),
        ),
        ("flagged, found", reviewed.precision_flagged),
    ]
    known = [(name, item) for name, item in lines if item is not None]
    title = "Wrong labels: claimed and reviewed"
    names, estimates = [name for name, _ in known], [item for _, item in known]
    return Figure(
        title,
        f"{formats.rows(reviewed.reviewed)} drawn at random and decided, with 95% intervals: the "
        "share of wrong labels among all rows, and among the flagged ones.",
        noise_rates("claimed-and-reviewed", title, names, estimates, None),
        Table(
            title,
            ["rows", "share wrong", "95% interval"],
            [
                [name, formats.percent(item.estimate), formats.share_interval(item)]
                for name, item in known
            ],
            frozenset({1, 2}),
        ),
    )


def view_budget(labels: LabelFindings | None) -> tuple[Budget | None, list[Stop]]:
    """Return the budget slider, and each of its stops with where it lies in the chart."""
    if labels is None or not labels.expected_precision:
        return None, []
    points = _zoomed(labels)
    chart, places = expected_found(
        "expected-found",
        "Wrong labels found by the number of rows reviewed",
        [point.budget for point in points],
        [point.expected_found for point in points],
        labels.rows_flagged,
    )
    start = min(
        range(len(points)), key=lambda index: abs(points[index].budget - labels.rows_flagged)
    )
    every = max(1, len(points) // BUDGETS_IN_TABLE)
    table = Table(
        "Wrong labels found by the number of rows reviewed",
        ["reviewed", "wrong among them", "precision", "of all wrong labels"],
        [
            [formats.count(point.budget), *budget_words(point, labels)[1:]]
            for point in points[::every]
        ],
        frozenset({0, 1, 2, 3}),
    )
    figure = Figure(
        "How far review pays",
        "Wrong labels found if rows are reviewed most suspicious first. On the dashed line "
        "every row reviewed is wrong.",
        chart,
        table,
    )
    stops = list(zip(points, places, strict=True))
    return Budget(figure, len(points) - 1, start, budget_words(points[start], labels)), stops


def _zoomed(labels: LabelFindings) -> list[BudgetPoint]:
    """Return the budgets up to a few times the flagged rows; beyond, the curve says little."""
    points = labels.expected_precision
    near = [point for point in points if point.budget <= ZOOM * labels.rows_flagged]
    return near if len(near) > 1 else points


def _introduction(labels: LabelFindings) -> str:
    if labels.outcome == "cannot tell":
        return formats.sentences(labels.reasons)
    threshold = formats.set_percent(labels.probability_threshold)
    if not labels.rows_flagged:
        return (
            f"None of {formats.rows(labels.rows_scored)} has a label that is wrong with a "
            f"probability of {threshold} or more."
        )
    found = (
        f"{formats.count(labels.rows_flagged)} of {formats.rows(labels.rows_scored)} "
        f"{'has' if labels.rows_flagged == 1 else 'have'} a label that is wrong with a "
        f"probability of {threshold} or more."
    )
    if hardly_known(labels):
        found += f" How many of them are wrong can hardly be told: {wrong_of_flagged(labels)}."
    if labels.reasons[1:]:  # The first says how many were found.
        found += f" {formats.sentences(labels.reasons[1:])}"
    return found


def _title(labels: LabelFindings) -> str:
    if labels.outcome == "cannot tell":
        return "How many labels are wrong cannot be told"
    return (
        "Labels that are probably wrong" if labels.rows_flagged else "No label stands out as wrong"
    )


def _confusions(labels: LabelFindings) -> list[ConfusionLine]:
    """Return the pairs of labels that flagged rows have, those first that most rows have."""
    pairs: dict[tuple[str, str], list[FlaggedRow]] = {}
    for row in labels.rows:
        if row.flagged:
            pairs.setdefault((str(row.given_label), str(row.suggested_label)), []).append(row)
    if not labels.per_class:
        return []
    most = sorted(pairs.items(), key=lambda item: -len(item[1]))[:CONFUSIONS_ON_PAGE]
    return [
        ConfusionLine(
            formats.label(rows[0].given_label),
            formats.label(rows[0].suggested_label),
            formats.rows(len(rows), "flagged row"),
            f"#decide&pair={quote(given, safe='')}:{quote(suggested, safe='')}",
        )
        for (given, suggested), rows in most
    ]


def _row_line(row: FlaggedRow, sample: Sample | None) -> RowLine:
    text = ""
    if sample is not None:
        fields = (f"{name} {value}" for name, value in sample.fields.items())
        text = sample.text or ", ".join(fields)
    return RowLine(
        str(row.row_id),
        formats.label(row.given_label),
        formats.label(row.suggested_label),
        formats.percent(row.probability),
        text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…",
    )


def _shown(labels: LabelFindings) -> str:
    flagged = sum(row.flagged for row in labels.rows)
    others = len(labels.rows) - flagged
    shown = f"{formats.rows(flagged, 'flagged row')} on this page"
    if others:
        shown += f", and the {formats.rows(others)} next in line"
    return shown + "."


def _left_out(labels: LabelFindings) -> str:
    parts = []
    if labels.rows_left_out:
        further = formats.rows(labels.rows_left_out, "further flagged row")
        parts.append(f"{further} not on this page: mislabels.parquet holds every row.")
    if labels.rows_without_evidence:
        parts.append(
            f"For {formats.rows(labels.rows_without_evidence)} some pictures, texts or evidence "
            "were left out, to keep this file small."
        )
    return " ".join(parts)


def _distribution(position: int, item: Histogram) -> Figure:
    name = formats.words(item.name)
    form = formats.set_percent if item.name == "probability" else formats.set_number
    return Figure(
        "Probability that the label is wrong" if item.name == "probability" else name.capitalize(),
        "",
        score_distribution(
            f"distribution-{position}",
            f"Distribution of {name} among flagged rows and the others",
            item.edges,
            item.kept,
            item.flagged,
            item.threshold,
            form,
        ),
    )


def _per_class(labels: LabelFindings) -> Figure | None:
    return _noise_rates(
        labels.per_class,
        labels.noise_rate,
        ("class", "classes"),
        "Which labels are wrong most often",
    )


def _per_group(labels: LabelFindings) -> Figure | None:
    return _noise_rates(
        labels.per_group,
        labels.noise_rate,
        ("group", "groups"),
        "Where labels are wrong most often",
    )


def _noise_rates(
    rates: Sequence[ClassNoise],
    overall: Estimate | None,
    names: tuple[str, str],
    headline: str,
) -> Figure | None:
    """Draw and list the share of wrong labels among the rows of each class or group."""
    if not rates:
        return None
    one, many = names
    worst = sorted(rates, key=lambda item: -(item.noise_rate.estimate if item.noise_rate else 0))
    drawn = worst[:CLASSES_IN_CHART]
    what = "given label" if one == "class" else one
    caption = f"Estimated share of wrong labels by {what}, with 95% intervals."
    if len(worst) > len(drawn):
        caption += f" The {len(drawn)} worst of {len(worst)} {many} are drawn."
    listed = worst[:CLASSES_IN_TABLE]
    title = f"Estimated share of wrong labels by {one}"
    if len(worst) > len(listed):
        title += f"; the {len(listed)} worst of {len(worst)}, audit.json holds all"
    return Figure(
        headline,
        caption,
        noise_rates(
            f"noise-per-{one}",
            f"Estimated share of wrong labels by {one}",
            [formats.label(item.label) for item in drawn],
            [item.noise_rate for item in drawn],
            overall,
            f"all {many}",
        ),
        Table(
            title,
            [one, "rows", "flagged", "wrong", "95% interval"],
            [
                [
                    formats.label(item.label),
                    formats.count(item.rows),
                    formats.count(item.flagged),
                    formats.percent(item.noise_rate.estimate) if item.noise_rate else "—",
                    formats.share_interval(item.noise_rate) if item.noise_rate else "—",
                ]
                for item in listed
            ],
            frozenset({1, 2, 3, 4}),
        ),
    )


def _noise_table(labels: LabelFindings) -> Figure | None:
    table = labels.noise_table
    if table is None:
        return None
    given = [formats.label(label) for label in table.given]
    true = [formats.label(label) for label in table.true]
    caption = (
        "Of the rows with a given label (lines), the share expected to have another (columns)."
    )
    if table.classes_left_out:
        left_out = formats.rows(table.classes_left_out, "class", "classes")
        caption += f" {left_out} with fewer errors left out."
    return Figure(
        "Given and true labels",
        caption,
        noise_heat("noise-table", "Given and true labels", given, true, table.rows),
        Table(
            "Expected rows by given (lines) and true label (columns)",
            ["given", *true],
            [
                [label, *(f"{value:,.1f}" for value in line)]
                for label, line in zip(given, table.rows, strict=True)
            ],
            frozenset(range(1, len(true) + 1)),
        ),
    )

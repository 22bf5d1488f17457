"""Memorization as its template prints it: every number formatted, every chart drawn."""

from __future__ import annotations

from dataclasses import dataclass

from dataaudit.report import formats
from dataaudit.report.charts.bars import count_bars
from dataaudit.report.charts.histogram import histogram
from dataaudit.report.page_parts import Fact, Figure, KeyFigure, Table, inputs_table
from dataaudit.report.render import render_template
from dataaudit.studies.memorization.data import MemorizationReport, MemorizedRow

CLASSES_ON_PAGE = 30
MEMORIZED = 0.5
"""From this memorization on a row counts as memorized."""


@dataclass(frozen=True)
class RowView:
    """A row of the long tail in words."""

    name: str
    label: str
    memorization: str
    image: str | None
    text: str
    likelihood: str
    likelihood_without: str


@dataclass(frozen=True)
class MemorizationPage:
    """Everything the template prints."""

    title: str
    subject: str
    advice: str
    headline: str
    style: str
    scope: str
    key_figures: list[KeyFigure]
    notes: list[str]
    figures: list[Figure]
    rows: list[RowView]
    left_out: str
    method: list[Fact]
    inputs: Table
    date: str


def render_memorization(report: MemorizationReport) -> str:
    """Return the report as one HTML page that opens offline and runs no script."""
    return render_template("memorization.html.j2", build_memorization_page(report))


def build_memorization_page(report: MemorizationReport) -> MemorizationPage:
    """Return the page of a report on memorization."""
    further = report.rows - len(report.long_tail)
    return MemorizationPage(
        title=report.name,
        subject="Memorization of training rows",
        advice=f"Look at {formats.rows(report.memorized)} before you publish this model"
        if report.memorized
        else "No row stands out",
        headline=f"{report.headline}. Such rows are rare, hard or wrongly labelled, and the ones a "
        "published model is most likely to give away.",
        style="undecided",
        scope=f"{formats.rows(report.rows, 'training row')}, {report.model}",
        key_figures=[
            KeyFigure(formats.count(report.memorized), "rows memorized", "one half or more", ""),
            KeyFigure(formats.number(report.mean), "mean memorization", "−1 to 1", ""),
        ],
        notes=report.notes,
        figures=_figures(report),
        rows=[_row(row) for row in report.long_tail],
        left_out=f"{formats.rows(further, 'further row')}: memorization.parquet."
        if further > 0
        else "",
        method=[
            Fact("method", report.method),
            Fact("model", report.model),
            Fact(
                "cost",
                f"{formats.count(report.forward_passes)} forward passes of one row, in "
                f"{formats.number(report.seconds)} s",
            ),
            Fact("seed", str(report.seed)),
            Fact("model hash (SHA-256)", report.model_sha256),
            Fact(
                "versions", ", ".join(f"{name} {value}" for name, value in report.versions.items())
            ),
        ],
        inputs=inputs_table(report.splits),
        date=formats.long_date(report.date),
    )


def _figures(report: MemorizationReport) -> list[Figure]:
    first = sum(edge < MEMORIZED - 1e-9 for edge in report.edges[:-1])
    figures = [
        Figure(
            "How memorization is distributed",
            "Heights are roots of counts. The right end is the long tail: rows that the model "
            "knows by heart.",
            histogram(
                "memorization",
                "Memorization of the training rows",
                report.edges,
                report.counts,
                first,
                ("below one half", "memorized"),
            ),
        )
    ]
    if report.classes:
        figures.append(
            Figure(
                "Classes",
                "Rows memorized in each class, those with the highest mean first.",
                count_bars(
                    "classes",
                    "Memorized rows by class",
                    [formats.label(item.label) for item in report.classes[:CLASSES_ON_PAGE]],
                    [item.memorized for item in report.classes[:CLASSES_ON_PAGE]],
                    [
                        f"{formats.count(item.memorized)} of {formats.count(item.rows)}"
                        for item in report.classes[:CLASSES_ON_PAGE]
                    ],
                    "leak",
                ),
            )
        )
    return figures


def _row(row: MemorizedRow) -> RowView:
    fields = "; ".join(f"{name}: {value}" for name, value in row.fields.items())
    error = "" if row.standard_error is None else f" ± {row.standard_error:.2f}"
    return RowView(
        name=str(row.row_id),
        label=formats.label(row.label),
        memorization=f"{row.memorization:.2f}{error}".replace("-", "−"),
        image=row.image,
        text=row.text or fields,
        likelihood=f"{row.likelihood:.2f}",
        likelihood_without=f"{row.likelihood_without:.2f}",
    )

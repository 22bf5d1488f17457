"""The verification as its template prints it: every number formatted, every chart drawn."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from dataaudit.report import formats
from dataaudit.report.charts.scatter import scatter
from dataaudit.report.data import Estimate
from dataaudit.report.page_parts import Fact, Figure, KeyFigure, Table, inputs_table
from dataaudit.report.render import render_template
from dataaudit.studies.verification.data import (
    Design,
    MirrorAgreement,
    MirrorKind,
    Trust,
    Verification,
)

DESIGN_WORDS: dict[Design, str] = {
    "random": "random groups",
    "graded": "groups from most helpful to most harmful",
    "halves": "random halves",
}
DESIGN_NOTES = {
    "random": "Groups that are alike: what a correlation owes to groups that differ in their share "
    "of wrong labels is gone.",
    "graded": "Groups as far apart as the prediction itself can make them. They differ mostly in "
    "their share of doubtful rows, which makes this the easy test.",
}
MIRROR_WORDS: dict[MirrorKind, str] = {
    "retrained": "trained again with the queries",
    "rehearsed": "steps on queries among rows",
    "steps": "steps on queries alone",
}
ADVICE: dict[Trust, str] = {
    "strong": "Rely on influence for this model",
    "fair": "Use influence as a guide",
    "weak": "Use influence only to choose what to look at",
    "none": "Do not rely on influence for this model",
}
TRUST_STYLES: dict[Trust, str] = {
    "strong": "passed",
    "fair": "passed",
    "weak": "undecided",
    "none": "failed",
}


@dataclass(frozen=True)
class VerificationPage:
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
    further_figures: list[Figure]
    agreements: Table
    queries: Table
    method: list[Fact]
    mirrors: list[Fact]
    inputs: Table
    date: str


def render_verification(report: Verification, points: pd.DataFrame) -> str:
    """Return the verification as one HTML page that opens offline and runs no script."""
    return render_template("verify.html.j2", build_verification_page(report, points))


def build_verification_page(report: Verification, points: pd.DataFrame) -> VerificationPage:
    """Return the page of a verification; `points` are those of `points.parquet`."""
    return VerificationPage(
        title=report.name,
        subject="Influence against training again",
        advice=ADVICE[report.trust],
        headline=report.headline,
        style=TRUST_STYLES[report.trust],
        scope=(
            f"{formats.rows(report.trainings, 'training')} on "
            f"{formats.rows(report.rows, 'training row')}"
            + (
                f" of {formats.count(report.rows_in_all)}"
                if report.rows < report.rows_in_all
                else ""
            )
            + f", {formats.count(sum(group.queries for group in report.query_groups))} held-out "
            "samples"
        ),
        key_figures=_key_figures(report),
        notes=report.notes,
        figures=_figures(report, points, "rehearsed"),
        further_figures=_figures(report, points, "retrained"),
        agreements=_agreements(report),
        queries=Table(
            "Groups of held-out samples",
            ["group", "labels, most frequent first", "samples"],
            [
                [str(place), ", ".join(group.labels), formats.count(group.queries)]
                for place, group in enumerate(report.query_groups)
            ],
            frozenset({2}),
        ),
        method=_method(report),
        mirrors=[
            Fact(f"mirror: {MIRROR_WORDS[kind]}", said) for kind, said in report.mirrors.items()
        ],
        inputs=inputs_table(report.splits),
        date=formats.long_date(report.date),
    )


def _key_figures(report: Verification) -> list[KeyFigure]:
    figures = []
    for item in report.agreements:
        shown = item.within if item.design == "halves" else item.spearman
        if item.mirror == "rehearsed" and shown is not None:
            what = "linear datamodeling score" if item.design == "halves" else "Spearman"
            figures.append(
                KeyFigure(
                    _correlation(shown.estimate),
                    f"{what}, {DESIGN_WORDS[item.design]}",
                    f"95% interval {_interval(shown)}",
                    "",
                )
            )
    return figures


def _figures(report: Verification, points: pd.DataFrame, mirror: MirrorKind) -> list[Figure]:
    figures = []
    for item in report.agreements:
        if item.design == "halves" or item.mirror != mirror:
            continue
        chosen = points[points["design"] == item.design]
        title = DESIGN_WORDS[item.design].capitalize()
        if mirror != "rehearsed":
            title += f": {MIRROR_WORDS[mirror]}"
        chart = scatter(
            f"points-{item.design}-{item.mirror}",
            title,
            ("predicted, nats", chosen[f"mirrored_{item.mirror}"].tolist()),
            ("measured by leaving out, nats", chosen["influence"].tolist()),
            "kept" if mirror == "retrained" else "flagged",
        )
        said = f"Pearson {_words(item.pearson)}, Spearman {_words(item.spearman)}."
        figures.append(Figure(title, f"{said} {DESIGN_NOTES[item.design]}", chart))
    return figures


def _agreements(report: Verification) -> Table:
    return Table(
        "Agreement with training again, 95% intervals from groups drawn with replacement",
        ["groups", "mirror", "rows in each", "Pearson", "Spearman", "within query groups",
         "reachable"],
        [_agreement(item) for item in report.agreements],
        frozenset({2, 3, 4, 5, 6}),
    )  # fmt: skip


def _agreement(item: MirrorAgreement) -> list[str]:
    return [
        f"{formats.count(item.groups)} {DESIGN_WORDS[item.design]}",
        MIRROR_WORDS[item.mirror],
        formats.count(item.rows_per_group),
        _words(item.pearson),
        _words(item.spearman),
        _words(item.within),
        "—" if item.ceiling is None else _correlation(item.ceiling),
    ]


def _method(report: Verification) -> list[Fact]:
    accuracies = [
        Fact(name, formats.percent(value))
        for name, value in (
            ("accuracy of the trained model on these samples", report.trained_accuracy),
            ("accuracy after training again", report.retrained_accuracy),
        )
        if value is not None
    ]
    return [
        Fact("model", report.model),
        Fact("trained again", report.retraining),
        Fact("repeats from other seeds", formats.count(report.repeats)),
        *accuracies,
        Fact("first seed", str(report.seed)),
        Fact("time", f"{formats.number(report.seconds)} s"),
        Fact("model hash (SHA-256)", report.model_sha256),
        Fact("versions", ", ".join(f"{name} {value}" for name, value in report.versions.items())),
    ]


def _words(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not defined"
    return f"{_correlation(estimate.estimate)} ({_interval(estimate)})"


def _interval(estimate: Estimate) -> str:
    return f"{_correlation(estimate.low)} to {_correlation(estimate.high)}"


def _correlation(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")

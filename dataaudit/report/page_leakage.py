"""The section on leakage, as the templates print it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataaudit.report import formats
from dataaudit.report.charts.bars import count_bars
from dataaudit.report.charts.intervals import metric_comparison
from dataaudit.report.data import Leakage, Sample
from dataaudit.report.page_parts import Figure, Table
from dataaudit.report.page_words import KIND_TITLES, kind_title

CLASSES_IN_CHART = 10
FIRST_PAIRS = 30
"""Pairs that stand on the page as HTML, for readers without script."""


@dataclass(frozen=True)
class PairLine:
    """A leaked pair in a line."""

    suspect: str
    row: str
    kind: str


@dataclass(frozen=True)
class LeakageView:
    """The section on leakage."""

    title: str
    introduction: str
    tables: list[Table]
    figures: list[Figure]
    first_pairs: list[PairLine]
    left_out: str


def view_leakage(leakage: Leakage, samples: Mapping[str, Sample]) -> LeakageView:
    """Return the section on leakage."""
    figures = [_metric(leakage), _kinds(leakage), _classes(leakage)]
    return LeakageView(
        title=_title(leakage),
        introduction=_introduction(leakage),
        tables=[*_disagreeing_rows(leakage), *_shared_groups(leakage)],
        figures=[figure for figure in figures if figure is not None],
        first_pairs=[
            PairLine(
                str(pair.query_id),
                str(pair.row_id),
                kind_title(
                    pair,
                    samples[pair.suspect] if pair.suspect else None,
                    samples[pair.row] if pair.row else None,
                ),
            )
            for pair in leakage.pairs[:FIRST_PAIRS]
        ],
        left_out=f"{formats.rows(leakage.pairs_left_out, 'further pair')} not on this page: "
        "contamination.parquet holds them all."
        if leakage.pairs_left_out
        else "",
    )


def _title(leakage: Leakage) -> str:
    if leakage.suspects_flagged:
        return "Evaluation samples in the training set"
    if leakage.outcome == "cannot tell":
        return "Whether evaluation samples leaked cannot be told"
    return "No evaluation sample was found in the training set"


def _introduction(leakage: Leakage) -> str:
    suspects = formats.rows(leakage.suspects, "suspect")
    rate = formats.set_percent(leakage.false_discovery_rate)
    alike = leakage.suspects_flagged - leakage.exact_copies
    parts = []
    if leakage.exact_copies:
        parts.append(
            f"{formats.count(leakage.exact_copies)} of {suspects} "
            f"{'is' if leakage.exact_copies == 1 else 'are'} identical to a training row."
        )
        if leakage.rows_repeated:
            repeated = formats.rows(leakage.rows_repeated, "training row")
            verb = "is" if leakage.rows_repeated == 1 else "are"
            parts.append(f"{repeated} {verb} identical to another one.")
    if alike:
        parts.append(
            f"{formats.count(alike)} of {suspects} {'resembles' if alike == 1 else 'resemble'} a "
            f"training row more than clean samples do. At most {rate} of such finds are expected "
            "to be false alarms."
        )
    if leakage.outcome == "clear":
        parts.append(
            f"None of {suspects} is identical to a training row, and none resembles one more than "
            f"clean samples do, at a false discovery rate of {rate}."
        )
    # Where leaks were found, the first reason is their number.
    reasons = leakage.reasons if leakage.outcome == "cannot tell" else leakage.reasons[1:]
    if reasons and leakage.outcome != "clear":
        parts.append(f"Not all could be told: {'; '.join(reasons)}.")
    return " ".join(parts)


def _disagreeing_rows(leakage: Leakage) -> list[Table]:
    if not leakage.disagreeing_rows:
        return []
    more = leakage.disagreeing_rows_left_out
    return [
        Table(
            "Training rows of the same content whose labels differ: one of each two is wrong"
            + (f" ({formats.count(more)} further pairs left out)" if more else ""),
            ["row", "label", "other row", "its label", "similarity"],
            [
                [
                    str(pair.row_id),
                    formats.label(pair.label),
                    str(pair.other_row_id),
                    formats.label(pair.other_label),
                    formats.number(pair.similarity),
                ]
                for pair in leakage.disagreeing_rows
            ],
            frozenset({4}),
        )
    ]


def _shared_groups(leakage: Leakage) -> list[Table]:
    if not leakage.shared_groups:
        return []
    more = leakage.shared_groups_left_out
    return [
        Table(
            f"{formats.rows(leakage.suspects_in_shared_groups, 'suspect')} of groups that the "
            "training set holds too"
            + (f" ({formats.count(more)} further groups left out)" if more else ""),
            ["group", "suspects", "training rows"],
            [
                [item.group, formats.count(item.suspects), formats.count(item.rows)]
                for item in leakage.shared_groups
            ],
            frozenset({1, 2}),
        )
    ]


def _metric(leakage: Leakage) -> Figure | None:
    if leakage.metric_all is None or leakage.metric_clean is None:
        return None
    caption = f"{leakage.metric_name.capitalize()} on the suspects, with 95% intervals."
    difference = leakage.metric_difference
    if difference is not None:
        caption += (
            f" The leaks change it by {formats.points(difference.estimate)} "
            f"(95% interval {formats.points(difference.low)} to "
            f"{formats.points(difference.high)})."
        )
    return Figure(
        f"What the leaks do to {leakage.metric_name}",
        caption,
        metric_comparison(
            "metric",
            f"{leakage.metric_name.capitalize()} with and without the leaked samples",
            leakage.metric_name,
            leakage.metric_all,
            leakage.metric_clean,
        ),
    )


def _kinds(leakage: Leakage) -> Figure | None:
    totals: dict[str, int] = {}
    for item in leakage.kinds:
        title = KIND_TITLES[item.kind]
        totals[title] = totals.get(title, 0) + item.suspects
    if not totals:
        return None
    return Figure(
        "How the leaks show",
        "Copies look alike; others only the model's behaviour gives away.",
        count_bars(
            "leak-kinds",
            "Leaked samples by kind",
            list(totals),
            list(totals.values()),
            [formats.count(count) for count in totals.values()],
            "leak",
        ),
    )


def _classes(leakage: Leakage) -> Figure | None:
    hit = sorted(
        (item for item in leakage.hits_per_class if item.flagged), key=lambda item: -item.flagged
    )
    if not hit:
        return None
    drawn = hit[:CLASSES_IN_CHART]
    caption = "Leaked samples by class."
    if len(hit) > len(drawn):
        caption += f" The {len(drawn)} most affected of {len(hit)} classes are drawn."
    words = [f"{formats.count(item.flagged)} of {formats.count(item.suspects)}" for item in drawn]
    return Figure(
        "Where the leaks are",
        caption,
        count_bars(
            "leak-classes",
            "Leaked samples by class",
            [formats.label(item.label) for item in drawn],
            [item.flagged for item in drawn],
            words,
            "leak",
        ),
        Table(
            "Leaked samples by class",
            ["class", "suspects", "leaked"],
            [
                [
                    formats.label(item.label),
                    formats.count(item.suspects),
                    formats.count(item.flagged),
                ]
                for item in hit
            ],
            frozenset({1, 2}),
        )
        if len(hit) > len(drawn)
        else None,
    )

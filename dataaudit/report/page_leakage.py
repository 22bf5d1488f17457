"""The section on leakage, as the templates print it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataaudit.report import formats
from dataaudit.report.charts.bars import count_bars
from dataaudit.report.charts.intervals import metric_comparison
from dataaudit.report.data import NO_LABEL, Leakage, LeakPair, Sample
from dataaudit.report.differences import FieldPair, Piece, field_pairs, text_pieces
from dataaudit.report.page_parts import Fact, Figure, Table

CLASSES_IN_CHART = 10
KIND_TITLES = {
    "exact": "exact copy",
    "near": "near copy",
    "near, no influence seen": "near copy, no influence seen",
    "influence only": "influence only",
    "none": "no clear match",
}


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
    side_by_side: bool


@dataclass(frozen=True)
class LeakageView:
    """The section on leakage."""

    title: str
    introduction: str
    tables: list[Table]
    figures: list[Figure]
    kinds: list[str]
    pairs: list[PairView]
    left_out: str


def view_leakage(leakage: Leakage, samples: Mapping[str, Sample]) -> LeakageView:
    """Return the section on leakage."""
    figures = [_metric(leakage), _kinds(leakage), _classes(leakage)]
    pairs = [_pair(pair, samples) for pair in leakage.pairs]
    return LeakageView(
        title=_title(leakage),
        introduction=_introduction(leakage),
        tables=[*_disagreeing_rows(leakage), *_shared_groups(leakage)],
        figures=[figure for figure in figures if figure is not None],
        kinds=list(dict.fromkeys(pair.kind for pair in pairs)),
        pairs=pairs,
        left_out=f"{formats.rows(leakage.pairs_left_out, 'further pair')} not on this page: "
        "contamination.parquet holds them all."
        if leakage.pairs_left_out
        else "",
    )


def _title(leakage: Leakage) -> str:
    if leakage.suspects_flagged:
        return "Evaluation samples in the training set"
    if leakage.outcome == "cannot tell":
        return "Whether evaluation samples stand in the training set cannot be told"
    return "No evaluation sample was found in the training set"


def _introduction(leakage: Leakage) -> str:
    suspects = formats.rows(leakage.suspects, "suspect")
    rate = formats.set_percent(leakage.false_discovery_rate)
    alike = leakage.suspects_flagged - leakage.exact_copies
    parts = []
    if leakage.exact_copies:
        parts.append(
            f"{formats.count(leakage.exact_copies)} of {suspects} "
            f"{'is' if leakage.exact_copies == 1 else 'are'} identical to a training row"
            f" ({formats.count(leakage.rows_repeated)} training rows are to another one)."
        )
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
    if not leakage.kinds:
        return None
    return Figure(
        "How the leaks show",
        "Near copies look alike; influence means that the model's behaviour gives them away.",
        count_bars(
            "leak-kinds",
            "Leaked samples by kind",
            [KIND_TITLES[item.kind] for item in leakage.kinds],
            [item.suspects for item in leakage.kinds],
            [formats.count(item.suspects) for item in leakage.kinds],
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


def _pair(pair: LeakPair, samples: Mapping[str, Sample]) -> PairView:
    suspect = samples[pair.suspect] if pair.suspect else None
    row = samples[pair.row] if pair.row else None
    pieces: tuple[list[Piece], list[Piece]] = ([], [])
    fields: list[FieldPair] = []
    if suspect is not None and row is not None:
        pieces = text_pieces(suspect.text or "", row.text or "")
        fields = field_pairs(suspect.fields, row.fields)
    differ = bool(suspect and row and suspect.label not in (row.label, NO_LABEL))
    only_fields = bool(fields) and not any(pieces)
    if only_fields and suspect is not None and row is not None:
        fields = [FieldPair("label", suspect.label, row.label, differ), *fields]
    facts = [Fact("p-value", formats.p_value(pair.p_value))]
    if pair.content_score is not None:
        facts.append(Fact("content", formats.number(pair.content_score)))
    if pair.influence_score is not None:
        facts.append(Fact("influence", formats.number(pair.influence_score)))
    return PairView(
        kind=KIND_TITLES[pair.kind],
        suspect=_side(f"Suspect {pair.query_id}", suspect, pieces[0]),
        row=_side(f"Training row {pair.row_id}", row, pieces[1]),
        labels_differ=differ,
        fields=fields,
        facts=facts,
        complete=suspect is not None and row is not None,
        side_by_side=not only_fields,
    )


def _side(title: str, sample: Sample | None, pieces: list[Piece]) -> Side:
    if sample is None:
        return Side(title, "", None, [])
    return Side(title, sample.label, sample.image, pieces)

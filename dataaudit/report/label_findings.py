"""From `MislabelFlags` to the label findings of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.flags.judgement import judge_labels
from dataaudit.flags.results import Interval, MislabelFlags
from dataaudit.report.all_rows import first_rows, histogram, shares_below
from dataaudit.report.annotators import annotator_findings
from dataaudit.report.data import (
    BudgetPoint,
    ClassNoise,
    Confusion,
    Estimate,
    FlaggedRow,
    Histogram,
    Label,
    LabelFindings,
    LikelyLabel,
    NoiseTable,
    Reference,
    SampleId,
    SignalValue,
)
from dataaudit.report.evidence import RowEvidence
from dataaudit.report.page_data import island
from dataaudit.report.samples import SamplePool, clean_text, plain_id
from dataaudit.report.targets import target_points

ROWS_ON_PAGE = 5000
KEPT_ROWS_ON_PAGE = 250
"""Rows kept, but next in line: they show the reviewer where the threshold lies."""
ROWS_WITH_EVIDENCE_FIRST = 100
"""For so many rows the evidence goes in before the thumbnails of all later rows."""
ROW_BYTES = 220
"""What a row takes on the page beside its id and its samples, five signals included."""
CLASSES_IN_NOISE_TABLE = 20
CONFUSIONS = 20
BUDGET_POINTS = 160


def select_rows(flags: MislabelFlags) -> list[SampleId]:
    """Return the ids of the rows that the page shows, in the order in which it shows them.

    Flagged rows first, by rank, at most `ROWS_ON_PAGE`; where there is room, up to
    `KEPT_ROWS_ON_PAGE` rows that come next without being flagged.
    """
    return [plain_id(row_id) for row_id in _shown(flags.table)["row_id"]]


def build_label_findings(
    flags: MislabelFlags, evidence: Mapping[SampleId, RowEvidence], pool: SamplePool
) -> LabelFindings:
    """Return the label findings; their samples go into `pool`."""
    table = flags.table
    shown = _shown(table)
    rows_flagged = int(table["flagged"].sum())
    pool.reserve(sum(ROW_BYTES + len(island(str(row_id))) for row_id in shown["row_id"]))
    notes = [""] * len(shown)
    if flags.notes is not None:
        notes = [clean_text(flags.notes[line]) for line in table.index.get_indexer(shown.index)]
        pool.reserve(sum(len(island(note)) for note in notes))
    rows, without_evidence = _rows(shown, _signals(flags, shown), notes, evidence, pool)
    noise_rate = estimate(flags.noise_rate)
    judgement = judge_labels(flags)
    return LabelFindings(
        outcome=judgement.outcome,
        reasons=list(judgement.reasons),
        rows_scored=int(table["probability"].notna().sum()),
        rows_flagged=rows_flagged,
        noise_rate=noise_rate,
        expected_wrong_rows=None if noise_rate is None else noise_rate.estimate * len(table),
        probability_threshold=flags.probability_threshold,
        precision_flagged=None
        if flags.precision_flagged is None
        else estimate(flags.precision_flagged),
        per_class=_noise_rates(flags.noise_per_class, "class"),
        per_group=[]
        if flags.noise_per_group is None
        else _noise_rates(flags.noise_per_group, "group"),
        noise_table=_noise_table(flags.noise_table),
        confusions=_confusions(flags.noise_table),
        expected_precision=_budget_points(flags.expected_precision, rows_flagged),
        histograms=_histograms(flags),
        targets=target_points(flags),
        rows=rows,
        rows_left_out=rows_flagged - sum(row.flagged for row in rows),
        rows_without_evidence=without_evidence,
        method=flags.method,
        annotators=annotator_findings(flags.annotators),
    )


def estimate(interval: Interval) -> Estimate | None:
    """Return the estimate as JSON can hold it; None where it could not be made."""
    values = (interval.estimate, interval.low, interval.high)
    if not all(np.isfinite(values)):
        return None
    return Estimate(estimate=interval.estimate, low=interval.low, high=interval.high)


def plain_label(value: Any) -> Label:
    """Return a class or target as JSON has it."""
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, (bool, int, float)):
        return item
    return clean_text(str(item))


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    return first_rows(table, ROWS_ON_PAGE, KEPT_ROWS_ON_PAGE)


def _signals(flags: MislabelFlags, shown: pd.DataFrame) -> list[dict[str, SignalValue]]:
    """Return the signals of each shown row, with the share of all rows below each value."""
    names = [str(name) for name in flags.signals.columns]
    values = flags.signals.loc[shown.index].to_numpy(dtype=float)
    below = [
        shares_below(flags.signals[column].to_numpy(dtype=float), asked)
        for column, asked in zip(flags.signals.columns, values.T, strict=True)
    ]
    percentiles = np.column_stack(below) if below else values
    return [
        {
            name: SignalValue(value=float(value), percentile=float(percentile))
            for name, value, percentile in zip(names, row, row_percentiles, strict=True)
            if np.isfinite(value)
        }
        for row, row_percentiles in zip(values, percentiles, strict=True)
    ]


def _rows(
    shown: pd.DataFrame,
    signals: list[dict[str, SignalValue]],
    notes: list[str],
    evidence: Mapping[SampleId, RowEvidence],
    pool: SamplePool,
) -> tuple[list[FlaggedRow], int]:
    """Return the rows of the page, and for how many of them evidence had to be left out."""
    ids = [plain_id(row_id) for row_id in shown["row_id"]]
    collected = [evidence.get(row_id) for row_id in ids]
    references: list[tuple[list[Reference], list[Reference]]] = [([], [])] * len(ids)

    def take_in(position: int) -> None:
        item = collected[position]
        if item is not None:
            references[position] = (pool.refer(item.against), pool.refer(item.neighbours))

    # Rows with a large picture come before their evidence, which could use the pictures up.
    for item in collected[:ROWS_WITH_EVIDENCE_FIRST]:
        if item is not None and item.row.picture:
            pool.add(item.row)
    first = range(min(ROWS_WITH_EVIDENCE_FIRST, len(ids)))
    for position in first:
        take_in(position)
    own = [None if item is None else pool.add(item.row) for item in collected]
    for position in range(len(first), len(ids)):
        take_in(position)

    rows = [
        FlaggedRow(
            row_id=row_id,
            given_label=plain_label(line.given_label),
            suggested_label=plain_label(line.suggested_label),
            note=note,
            score=float(line.score),
            probability=float(line.probability),
            flagged=bool(line.flagged),
            rank=int(line.rank),
            signals=row_signals,
            sample=sample,
            against=against,
            neighbours=neighbours,
            likeliest=[]
            if item is None
            else [
                LikelyLabel(label=plain_label(label), probability=probability)
                for label, probability in item.likeliest
            ],
            look_alikes=[] if item is None else [clean_text(label) for label in item.look_alikes],
        )
        for row_id, line, row_signals, note, sample, (against, neighbours), item in zip(
            ids,
            shown.itertuples(index=False),
            signals,
            notes,
            own,
            references,
            collected,
            strict=True,
        )
    ]
    complete = sum(
        item is not None
        and row.sample is not None
        and len(row.against) == len(item.against)
        and len(row.neighbours) == len(item.neighbours)
        for row, item in zip(rows, collected, strict=True)
    )
    return rows, len(rows) - complete


def _noise_rates(table: pd.DataFrame, name: str) -> list[ClassNoise]:
    return [
        ClassNoise(
            label=plain_label(label),
            rows=int(rows),
            flagged=int(flagged),
            noise_rate=estimate(Interval(float(rate), float(low), float(high))),
        )
        for label, rows, flagged, rate, low, high in table[
            [name, "rows", "flagged", "noise_rate", "low", "high"]
        ].itertuples(index=False)
    ]


def noise_of_table(table: pd.DataFrame) -> tuple[NoiseTable | None, list[Confusion]]:
    """Return noise table and confusions of `MislabelFlags.table`, whose labels are classes.

    All of a row's probability of being wrong goes to its suggested label.
    """
    known = table[table["probability"].notna()]
    wrong = known["probability"].to_numpy(dtype=float)
    labels = sorted({*known["given_label"], *known["suggested_label"]}, key=str)
    place = {label: number for number, label in enumerate(labels)}
    given = [place[label] for label in known["given_label"]]
    suggested = [place[label] for label in known["suggested_label"]]
    rows = np.zeros((len(labels), len(labels)))
    np.add.at(rows, (given, suggested), wrong)
    np.add.at(rows, (given, given), 1 - wrong)
    expected = pd.DataFrame(rows, index=labels, columns=labels)
    return _noise_table(expected), _confusions(expected)


def _off_diagonal(table: pd.DataFrame) -> NDArray[np.float64]:
    given = np.asarray(table.index, dtype=object)[:, None]
    true = np.asarray(table.columns, dtype=object)[None, :]
    return np.where(given == true, 0.0, table.to_numpy(dtype=np.float64))


def _noise_table(table: pd.DataFrame) -> NoiseTable | None:
    """Return the table of the classes that take part in most errors, in their own order."""
    if table.empty:
        return None
    wrong = pd.DataFrame(_off_diagonal(table), index=table.index, columns=table.columns)
    involved = wrong.sum(axis=1).add(wrong.sum(axis=0), fill_value=0)
    most = set(involved.nlargest(CLASSES_IN_NOISE_TABLE).index)
    given = [label for label in table.index if label in most]
    true = [label for label in table.columns if label in most]
    return NoiseTable(
        given=[plain_label(label) for label in given],
        true=[plain_label(label) for label in true],
        rows=table.loc[given, true].to_numpy(dtype=float).tolist(),
        classes_left_out=len(involved) - len(most),
    )


def _confusions(table: pd.DataFrame) -> list[Confusion]:
    if table.empty:
        return []
    wrong = _off_diagonal(table)
    largest = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    found = [np.unravel_index(place, wrong.shape) for place in largest]
    return [
        Confusion(
            given=plain_label(table.index[line]),
            true=plain_label(table.columns[column]),
            rows=float(wrong[line, column]),
        )
        for line, column in found
        if wrong[line, column] > 0
    ]


def _budget_points(table: pd.DataFrame, rows_flagged: int) -> list[BudgetPoint]:
    """Return at most `BUDGET_POINTS` budgets, most of them where reviewing pays."""
    budgets = table["budget"].to_numpy(dtype=float)
    if len(budgets) == 0:
        return []
    wanted = np.concatenate(
        [
            np.linspace(
                budgets[0], min(3 * rows_flagged + 20, budgets[-1]), BUDGET_POINTS * 3 // 4
            ),
            np.linspace(budgets[0], budgets[-1], BUDGET_POINTS // 4 - 1),
        ]
    )
    nearest = np.unique(np.abs(budgets[None, :] - wanted[:, None]).argmin(axis=1))
    chosen = budgets[nearest]
    if budgets[0] <= rows_flagged <= budgets[-1]:
        # The flagged rows are the budget that most reviewers have: it stands there exactly.
        chosen = np.unique(np.append(chosen, rows_flagged))
    found = np.interp(chosen, budgets, table["expected_found"].to_numpy(dtype=float))
    return [
        BudgetPoint(
            budget=int(budget),
            expected_found=float(expected),
            expected_precision=float(expected / budget),
        )
        for budget, expected in zip(chosen, found, strict=True)
    ]


def _histograms(flags: MislabelFlags) -> list[Histogram]:
    flagged = flags.table["flagged"].to_numpy(dtype=bool)
    columns = {"probability": flags.table["probability"], "score": flags.table["score"]}
    columns |= {str(name): flags.signals[name] for name in flags.signals.columns}
    thresholds = {"probability": flags.probability_threshold}
    made = [
        histogram(name, column.to_numpy(dtype=float), flagged, thresholds.get(name))
        for name, column in columns.items()
    ]
    return [found for found in made if found is not None]

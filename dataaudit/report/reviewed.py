"""A report brought into line with what rows drawn at random and reviewed have shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from dataaudit.flags.judgement import HIGHEST_CLEAR_RATE
from dataaudit.flags.results import Interval
from dataaudit.labels.by_task import KINDS
from dataaudit.report.data import (
    AuditReport,
    BudgetPoint,
    ClassNoise,
    FlaggedRow,
    Gate,
    LabelFindings,
    ReviewedSample,
)
from dataaudit.report.findings import build_findings, build_verdict
from dataaudit.report.gates import counted, make_gate
from dataaudit.report.label_findings import noise_of_table, plain_label
from dataaudit.report.steps import open_steps


def with_reviewed_sample(
    report: AuditReport,
    sample: ReviewedSample,
    table: pd.DataFrame,
    undecided: Literal["fail", "pass"],
) -> AuditReport:
    """Return the report with numbers, outcome, gates and findings that rest on the reviewed rows.

    What the review says nothing of (noise of single classes and groups, histograms) is left out.

    Parameters
    ----------
    report : AuditReport
        With label findings.
    sample : ReviewedSample
    table : pandas.DataFrame
        `mislabels.parquet` with corrected probabilities.
    undecided : "fail" or "pass"
        As `gates.undecided`.
    """
    before = report.labels
    if before is None:
        return report
    earlier = report.reviewed_sample
    claimed = before.noise_rate if earlier is None else earlier.noise_rate_claimed
    sample = sample.model_copy(update={"noise_rate_claimed": claimed})
    labels = _labels(before, sample, table, several=KINDS[report.identity.task].several)
    drawn = report.drawn
    if drawn is not None:
        drawn = drawn.model_copy(update={"shown": _corrected(drawn.shown, table)})
    counts = report.counts.model_copy(update={"rows_flagged": labels.rows_flagged})
    gates = [_gate(gate, labels, undecided) for gate in report.verdict.gates]
    return report.model_copy(
        update={
            "reviewed_sample": sample,
            "labels": labels,
            "drawn": drawn,
            "counts": counts,
            "verdict": build_verdict(gates),
            "findings": build_findings(
                labels, report.leakage, report.coverage, report.tracing, report.checks
            ),
            "next_steps": open_steps(
                report.model_copy(update={"labels": labels, "reviewed_sample": sample})
            ),
        }
    )


def _labels(
    before: LabelFindings, sample: ReviewedSample, table: pd.DataFrame, *, several: bool
) -> LabelFindings:
    flagged = table["flagged"].to_numpy(dtype=bool)
    rows = _corrected(before.rows, table)
    by_rank = table.loc[table["probability"].notna()].sort_values("rank")["probability"]
    found = np.cumsum(by_rank.to_numpy(dtype=float))
    noise_table, confusions = before.noise_table, before.confusions
    if noise_table is not None:
        noise_table, confusions = noise_of_table(table)
    return before.model_copy(
        update={
            "outcome": _outcome(sample, int(flagged.sum())),
            "reasons": [_reason(sample)],
            "rows_flagged": int(flagged.sum()),
            "noise_rate": sample.noise_rate,
            "precision_flagged": sample.precision_flagged if flagged.any() else None,
            "expected_wrong_rows": sample.noise_rate.estimate * before.rows_scored,
            # The table does not say which rows carry one of several labels.
            "per_class": [] if several else _per_class(before.per_class, table),
            "per_group": [],
            "noise_table": noise_table,
            "confusions": confusions,
            "expected_precision": [
                BudgetPoint(
                    budget=point.budget,
                    expected_found=float(found[min(point.budget, len(found)) - 1]),
                    expected_precision=float(found[min(point.budget, len(found)) - 1])
                    / point.budget,
                )
                for point in before.expected_precision
            ],
            "histograms": [],
            "targets": [],
            "rows": rows,
            "rows_left_out": int(flagged.sum()) - sum(row.flagged for row in rows),
        }
    )


def _corrected(rows: Sequence[FlaggedRow], table: pd.DataFrame) -> list[FlaggedRow]:
    lines = zip(
        table["row_id"].tolist(), table["probability"].tolist(), table["flagged"].tolist(),
        strict=True,
    )  # fmt: skip
    now = {
        str(row_id): {"probability": float(probability), "flagged": bool(is_flagged)}
        for row_id, probability, is_flagged in lines
    }
    return [row.model_copy(update=now.get(str(row.row_id), {})) for row in rows]


def _outcome(sample: ReviewedSample, flagged: int) -> Literal["found", "clear", "cannot tell"]:
    if sample.wrong or flagged:
        return "found"
    return "clear" if sample.noise_rate.high <= HIGHEST_CLEAR_RATE else "cannot tell"


def _reason(sample: ReviewedSample) -> str:
    rate = sample.noise_rate
    return (
        f"{sample.reviewed} rows drawn at random were reviewed, {sample.wrong} of them wrong: "
        f"{rate.low:.1%} to {rate.high:.1%} of all labels are wrong"
    )


def _per_class(before: Sequence[ClassNoise], table: pd.DataFrame) -> list[ClassNoise]:
    given = [str(plain_label(value)) for value in table["given_label"].tolist()]
    counts = pd.Series(table["flagged"].to_numpy(dtype=bool)).groupby(given).sum()
    return [
        item.model_copy(update={"flagged": int(counts.get(str(item.label), 0)), "noise_rate": None})
        for item in before
    ]


def _gate(gate: Gate, labels: LabelFindings, undecided: Literal["fail", "pass"]) -> Gate:
    """Return a limit with what is known now; that of the check `labels` is on flagged rows."""
    rate = labels.noise_rate
    if gate.name == "mislabel_rate" and rate is not None:
        found = Interval(rate.estimate, rate.low, rate.high)
    elif gate.name == "labels":
        found = counted(labels.rows_flagged)
    else:
        return gate
    return make_gate(gate.name, gate.limit, found, (), undecided)

"""From flags and evidence to the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from dataaudit.about import About
from dataaudit.flags.results import ContaminationFlags, MislabelFlags
from dataaudit.report.crosswalk import crosswalk
from dataaudit.report.data import (
    AuditReport,
    CheckSection,
    ClassCount,
    Composition,
    Counts,
    Coverage,
    Gate,
    Identity,
    LabelFindings,
    Leakage,
    Method,
    Split,
    Threshold,
    Tracing,
)
from dataaudit.report.evidence import Evidence
from dataaudit.report.findings import build_findings, build_verdict
from dataaudit.report.label_findings import build_label_findings, plain_label
from dataaudit.report.leakage import build_leakage
from dataaudit.report.samples import SamplePool
from dataaudit.report.steps import build_steps

SAMPLE_BYTES = 4_500_000
"""What rows, pairs and samples may take: with charts and tables the page stays below 5 MB."""
PICTURE_BYTES = 6_500_000
"""What pictures larger than thumbnails may take beyond that: with them the page stays below 12 MB.
"""
PAIR_PICTURE_BYTES = 1_500_000
"""What pairs may take of it."""
PAIR_SAMPLE_BYTES = 1_500_000
"""What pairs may take of it."""


def build_report(
    *,
    name: str,
    task: str,
    date: str,
    splits: Sequence[Split],
    mislabels: MislabelFlags | None,
    contamination: ContaminationFlags | None,
    evidence: Evidence,
    gates: Sequence[Gate],
    about: About,
    method: Method,
    coverage: Coverage,
    limits: Sequence[str],
    tracing: Tracing | None,
    checks: Sequence[CheckSection],
) -> AuditReport:
    """Return the report of one audit.

    Parameters
    ----------
    name, task : str
        As in `audit.yaml`.
    date : str
        ISO 8601 date or time of the audit.
    splits : sequence of Split
        The data sets that went in, with their content hashes.
    mislabels : MislabelFlags or None
        None where labels were not judged; the page then says so.
    contamination : ContaminationFlags or None
        None where leaks were not looked for; the page then says so.
    evidence : Evidence
        Exhibits for the rows of `select_rows` and the pairs of `select_pairs`.
    gates : sequence of Gate
        Limits with what was found.
    about : About
        What people say about the data set; what is missing reads "not provided".
    method, coverage
        How the audit was made, and what it did not look at. Thresholds of the flags are added.
    limits : sequence of str
        Limits of this audit beyond those that hold for every audit.
    tracing : Tracing or None
        Of generative models, in place of flags: the training rows behind the suspects.
    checks : sequence of CheckSection
        What further checks found.
    """
    in_pairs = SamplePool(PAIR_SAMPLE_BYTES, PAIR_PICTURE_BYTES)
    leakage = build_leakage(contamination, evidence, in_pairs) if contamination else None
    in_rows = SamplePool(SAMPLE_BYTES - in_pairs.spent, PICTURE_BYTES - in_pairs.spent_on_pictures)
    labels = build_label_findings(mislabels, evidence.rows, in_rows) if mislabels else None
    return AuditReport(
        identity=Identity(name=name, task=task, date=date, splits=list(splits), about=about),
        verdict=build_verdict(gates),
        findings=build_findings(labels, leakage, coverage, tracing, checks),
        next_steps=[
            step.text for step in build_steps(labels, leakage, about, tracing, [], None, None)
        ],
        counts=_counts(splits, labels, leakage, tracing),
        composition=_composition(evidence.composition),
        labels=labels,
        leakage=leakage,
        tracing=tracing,
        checks=list(checks),
        method=_with_thresholds(method, labels, leakage),
        coverage=coverage,
        limits=[*_limits(labels, leakage, tracing), *limits],
        remediation=[],
        review=None,
        reviewed_sample=None,
        drawn=None,
        crosswalk=crosswalk(),
        samples=in_pairs.samples | in_rows.samples,
    )


def _counts(
    splits: Sequence[Split],
    labels: LabelFindings | None,
    leakage: Leakage | None,
    tracing: Tracing | None,
) -> Counts:
    rows: Mapping[str, int] = {split.role: split.rows for split in splits}
    flagged = None if leakage is None else leakage.suspects_flagged
    if tracing is not None:
        flagged = tracing.queries_flagged if tracing.can_tell else None
    return Counts(
        train=rows.get("train", 0),
        held_out=rows.get("held_out", 0),
        suspects=rows.get("suspects", 0),
        rows_flagged=None if labels is None else labels.rows_flagged,
        suspects_flagged=flagged,
    )


def _composition(table: pd.DataFrame) -> Composition:
    totals = table.groupby("split", sort=False)["rows"].sum()
    counts = [
        ClassCount(
            split=str(split),
            label=plain_label(label),
            rows=int(rows),
            share=float(rows / totals[split]) if totals[split] else 0.0,
        )
        for split, label, rows in table[["split", "class", "rows"]].itertuples(index=False)
    ]
    smallest = table.groupby("split", sort=False)["rows"].min()
    largest = table.groupby("split", sort=False)["rows"].max()
    imbalance = {
        str(split): float(largest[split] / smallest[split])
        for split in totals.index
        if smallest[split] > 0
    }
    return Composition(counts=counts, imbalance=imbalance)


def _with_thresholds(
    method: Method, labels: LabelFindings | None, leakage: Leakage | None
) -> Method:
    thresholds = list(method.thresholds)
    if labels is not None:
        thresholds.append(
            Threshold(
                name="probability of a wrong label",
                value=labels.probability_threshold,
                reason="A row is flagged when its calibrated probability reaches this.",
            )
        )
    if leakage is not None:
        thresholds.append(
            Threshold(
                name="false discovery rate of leaks",
                value=leakage.false_discovery_rate,
                reason="Of the suspects flagged, at most this share is expected to be wrong "
                "(Benjamini–Hochberg).",
            )
        )
    return method.model_copy(update={"thresholds": thresholds})


def _limits(
    labels: LabelFindings | None, leakage: Leakage | None, tracing: Tracing | None
) -> list[str]:
    limits = [
        "A flag is a reason to look, not a proof. Every decision about a row is a person's.",
    ]
    if labels is not None:
        limits.append(
            "Labels are judged against the held-out samples. Where those are wrong, or "
            "do not cover a kind of row, the judgement is wrong or weak too."
        )
        limits.append(
            "Rates and probabilities are estimates. Errors that follow a rule the model can "
            "learn, and the held-out samples share, cannot be seen."
        )
    if leakage is not None:
        limits.append(
            "A leak that neither resembles its source nor moved the model cannot be seen: "
            "no finding is not a proof of absence."
        )
    if tracing is not None:
        limits.append(
            "Tracing estimates what the model learned from a row. Only training without the row "
            "would prove it, and many rows may have taught the model the same."
        )
    limits.append(
        "This report gathers evidence. It does not state conformity with any law or standard."
    )
    return limits

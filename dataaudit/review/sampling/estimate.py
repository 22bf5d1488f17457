"""`dataaudit estimate`: what reviewed rows, drawn at random, say of all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from dataaudit.checks.labels import Labels, issues_of
from dataaudit.checks.running import table_of
from dataaudit.errors import DataError
from dataaudit.flags.results import Interval
from dataaudit.report.data import AuditReport, BudgetEstimate, Estimate, ReviewedSample
from dataaudit.report.review_words import sample_lines
from dataaudit.report.reviewed import with_reviewed_sample
from dataaudit.review.decisions.check import Decided
from dataaudit.review.decisions.log import with_earlier
from dataaudit.review.decisions.read import read_decisions
from dataaudit.review.sampling.inference import Counted, corrected_for_reviewers, share_wrong
from dataaudit.review.sampling.recalibration import recalibrated
from dataaudit.review.sampling.record import Draw, read_draws
from dataaudit.review.written import write_report
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.finished import FinishedAudit, read_mislabels, read_table
from dataaudit.run_directory.store import CLAIMED, ESTIMATE, ISSUES, MISLABELS, SAMPLE
from dataaudit.run_directory.store import table as as_table

REVIEWER_ERROR = 0.05
"""Share of rows in which people who review labels are assumed to err, for a second interval."""
BUDGETS = (20, 50, 100, 200, 300, 500, 1000, 2000, 5000)
RIGHT = "keep"
NOT_DRAWN = (
    "these rows were not all drawn by `dataaudit sample`: what was measured speaks for them alone"
)


def estimate(directory: Path, decisions: Path) -> list[str]:
    """Estimate noise rate and precision from reviewed rows, and say what was found in lines.

    Writes `estimate.json`; corrects `probability` and `flagged` in `mislabels.parquet`, whose first
    form is kept as `mislabels.claimed.parquet`, and the lines about labels in `issues.parquet`; and
    renders the report again.

    Parameters
    ----------
    directory : Path
        A finished audit, from which `dataaudit sample` drew rows.
    decisions : Path
        A CSV file, or Label Studio's JSON export. Decisions about rows that were not drawn are left
        aside, since they do not speak for other rows.

    Raises
    ------
    DataAuditError
        A decision does not fit the audit, or no drawn row was decided.
    """
    audit = FinishedAudit.open(directory)
    draws = read_draws(directory, len(audit.mislabels))
    if not draws:
        raise DataError(
            f"{directory}: no rows were drawn from this audit; draw some with "
            f"`dataaudit sample {directory} --rows 60 --out sample.csv`, and decide them"
        )
    decided, _ = with_earlier(audit, read_decisions(decisions))
    found = estimate_from(audit, draws, decided)
    if found is None:
        raise DataError(
            f"{decisions}: none of the rows that were drawn (see {directory / SAMPLE}) is decided "
            "for sure; expected decisions about the rows that `dataaudit sample` wrote"
        )
    sample, table = found
    report = _with_sample(audit, audit.report, sample, table)
    write_estimate(audit, sample, table)
    write_report(directory, report)
    outside = {item.position for item in decided} - set().union(*(d.positions for d in draws))
    lines = sample_lines(sample)
    if outside:
        lines.append(f"left aside: decisions about {len(outside):,} rows that were not drawn")
    return [*lines, f"written: {(directory / ESTIMATE).absolute()}"]


def drawn_rows_speak(
    audit: FinishedAudit, report: AuditReport, decided: Sequence[Decided]
) -> tuple[AuditReport, list[str]]:
    """Bring a report in line with decisions that cover a draw, and say so in lines.

    Parameters
    ----------
    audit : FinishedAudit
    report : AuditReport
        With the decisions logged.
    decided : sequence of Decided
        All decisions, about whatever rows.
    """
    if not decided:
        # Decisions about leaks alone measure nothing of labels.
        return report, []
    draws = read_draws(audit.directory, len(audit.mislabels))
    places = {item.position for item in decided}
    drawn = [draw for draw in draws if draw.positions <= places]
    found = estimate_from(audit, drawn, decided) if drawn else None
    if found is None:
        return report, [NOT_DRAWN]
    sample, table = found
    write_estimate(audit, sample, table)
    return _with_sample(audit, report, sample, table), sample_lines(sample)


def estimate_from(
    audit: FinishedAudit, draws: Sequence[Draw], decided: Sequence[Decided]
) -> tuple[ReviewedSample, pd.DataFrame] | None:
    """Return what the best decided draw says, and the table with corrected probabilities.

    None where no drawn row was decided for sure.
    """
    wrong = {item.position: item.outcome != RIGHT for item in decided if item.outcome != "unsure"}
    unsure = {item.position for item in decided} - set(wrong)

    def share_decided(draw: Draw) -> tuple[float, int]:
        known = len(draw.positions & set(wrong))
        return known / max(len(draw.positions), 1), known

    # The latest of those that were decided most: it holds what was asked for last.
    draw = max(reversed(draws), key=share_decided)
    if not draw.positions & set(wrong):
        return None
    claimed = _claimed(audit)
    sample = _sample(draw, wrong, unsure, claimed)
    return sample, _corrected(audit, draw, wrong, claimed, sample.noise_rate.estimate)


def write_estimate(audit: FinishedAudit, sample: ReviewedSample, table: pd.DataFrame) -> None:
    """Write `estimate.json` and the corrected tables; keep the table as it was claimed."""
    directory, claimed = audit.directory, _claimed(audit)
    if not (directory / CLAIMED).exists():
        write_atomically(directory / CLAIMED, as_table(claimed))
    write_atomically(directory / MISLABELS, as_table(table))
    if (directory / ISSUES).exists() and audit.manifest["settings"].get("checks", {}).get(
        Labels.name, True
    ):
        write_atomically(directory / ISSUES, as_table(_issues(directory, table)))
    text = sample.model_dump_json(indent=2) + "\n"
    write_atomically(directory / ESTIMATE, lambda path: path.write_text(text, encoding="utf-8"))


def _issues(directory: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return `issues.parquet` with a line for each row that is flagged now."""
    found = read_table(directory / ISSUES)
    now = table_of([(Labels(), issues_of(table))])
    return pd.concat([now, found[found["check"] != Labels.name]], ignore_index=True)


def _with_sample(
    audit: FinishedAudit, report: AuditReport, sample: ReviewedSample, table: pd.DataFrame
) -> AuditReport:
    gates = audit.manifest["settings"].get("gates", {})
    undecided: Literal["fail", "pass"] = "pass" if gates.get("undecided") == "pass" else "fail"
    return with_reviewed_sample(report, sample, table, undecided)


def _claimed(audit: FinishedAudit) -> pd.DataFrame:
    """Return the table as the audit made it, before any review corrected it."""
    kept = audit.directory / CLAIMED
    return read_mislabels(audit.directory, CLAIMED) if kept.exists() else audit.mislabels


def _sample(
    draw: Draw, wrong: Mapping[int, bool], unsure: set[int], claimed: pd.DataFrame
) -> ReviewedSample:
    parts = [_counted(item.rows, item.drawn, wrong) for item in draw.strata]
    flagged = [part for part, item in zip(parts, draw.strata, strict=True) if item.flagged]
    rate = share_wrong(parts)
    if_wrong = corrected_for_reviewers(rate, REVIEWER_ERROR)
    precision = share_wrong(flagged) if any(part.decided for part in flagged) else None
    probability = claimed["probability"].to_numpy(dtype=float)
    rank = claimed["rank"].to_numpy()
    inside = np.zeros(len(rank), dtype=bool)
    for item in draw.strata:
        if item.flagged:
            inside |= (rank >= item.first_rank) & (rank <= item.last_rank)
    return ReviewedSample(
        seed=draw.seed,
        drawn=len(draw.positions),
        reviewed=sum(part.decided for part in parts),
        unsure=len(draw.positions & unsure),
        wrong=sum(part.wrong for part in parts),
        noise_rate=_stated(rate),
        noise_rate_claimed=None,
        precision_flagged=None if precision is None else _stated(precision),
        precision_claimed=float(np.nanmean(probability[inside])) if inside.any() else None,
        precision_at_budget=_at_budgets(draw, wrong, rank),
        reviewer_error=REVIEWER_ERROR,
        noise_rate_if_reviewers_err=_stated(if_wrong),
    )


def _counted(rows: int, drawn: Sequence[int], wrong: Mapping[int, bool]) -> Counted:
    known = [wrong[place] for place in drawn if place in wrong]
    return Counted(rows, len(known), sum(known))


def _at_budgets(draw: Draw, wrong: Mapping[int, bool], rank: np.ndarray) -> list[BudgetEstimate]:
    """Return the precision of the first rows; the part of each stratum among them is a stratum."""
    found = []
    for budget in BUDGETS:
        if budget > len(rank):
            break
        parts = []
        for item in draw.strata:
            # Ranks inside a stratum follow each other, but for rows that were set aside.
            rows = min(max(budget - item.first_rank + 1, 0), item.rows)
            drawn = [place for place in item.drawn if rank[place] <= budget]
            if rows:
                parts.append(_counted(rows, drawn, wrong))
        if any(part.decided for part in parts):
            precision = _stated(share_wrong(parts))
            found.append(BudgetEstimate(budget=budget, precision=precision))
    return found


def _corrected(
    audit: FinishedAudit, draw: Draw, wrong: Mapping[int, bool], claimed: pd.DataFrame, rate: float
) -> pd.DataFrame:
    places, weights = [], []
    for item in draw.strata:
        known = [place for place in item.drawn if place in wrong]
        places += known
        weights += [item.rows / len(known)] * len(known) if known else []
    judged = claimed["probability"].notna().to_numpy()
    line = np.full(len(claimed), -1)
    line[judged] = np.arange(judged.sum())
    probability = claimed["probability"].to_numpy(dtype=float, copy=True)
    rank = claimed["rank"].to_numpy(dtype=float)
    probability[judged] = recalibrated(
        probability[judged],
        pd.Series(rank[judged]).rank().to_numpy(),
        line[places],
        np.array([wrong[place] for place in places], dtype=float),
        np.array(weights),
        rate,
    )
    labels = audit.report.labels
    budget = audit.manifest["settings"].get("flags", {}).get("budget")
    flagged = claimed["flagged"].to_numpy(dtype=bool)
    if budget is None and labels is not None:
        flagged = judged & (probability >= labels.probability_threshold)
    return claimed.assign(probability=probability, flagged=flagged)


def _stated(found: Interval) -> Estimate:
    return Estimate(estimate=found.estimate, low=found.low, high=found.high)

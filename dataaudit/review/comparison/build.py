"""From two finished audits to their comparison: in words, as compare.html and compare.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from dataaudit.report.label_findings import plain_label
from dataaudit.report.render import render_template
from dataaudit.report.samples import plain_id
from dataaudit.review.comparison.data import (
    AuditSide,
    ChangedRow,
    ChangedSuspect,
    Comparison,
    GateChange,
    LabelChanges,
    LeakChanges,
    RowChange,
)
from dataaudit.review.comparison.keys import comparable_keys
from dataaudit.review.comparison.page import build_comparison_page, comparison_lines
from dataaudit.run_directory.finished import FinishedAudit, as_read_back
from dataaudit.run_directory.ownership import Kind
from dataaudit.run_directory.store import ResultsDirectory, text

PAGE = "compare.html"
DATA = "compare.json"
COMPARISONS = Kind("comparison", (PAGE, DATA), DATA, ("schema_version", "old", "new"))


def compare_directories(
    old: Path, new: Path, out: Path | None, *, overwrite: bool = False
) -> list[str]:
    """Compare two finished audits, and return lines that say what changed.

    Parameters
    ----------
    old, new : Path
        The directories of the earlier and of the later audit.
    out : Path or None
        A directory for `compare.html` and `compare.json`; None writes no files.
    overwrite : bool
        Whether a comparison in `out` may be replaced.

    Raises
    ------
    DataAuditError
        There is no audit, the two cannot be compared, or `out` cannot be written.
    """
    if out is None:
        return comparison_lines(_compared(old, new))
    with ResultsDirectory(out, COMPARISONS, overwrite=overwrite) as directory:
        comparison = _compared(old, new)
        page = render_comparison(comparison)
        data = comparison.model_dump_json(indent=2) + "\n"
        directory.publish({PAGE: text(page), DATA: text(data)})
    return [*comparison_lines(comparison), f"comparison: {directory.path / PAGE}"]


def _compared(old: Path, new: Path) -> Comparison:
    with as_read_back(old):
        before = FinishedAudit.open(old)
    with as_read_back(new):
        return compare(before, FinishedAudit.open(new))


def render_comparison(comparison: Comparison) -> str:
    """Return the comparison as one HTML page that opens offline and runs no script."""
    return render_template("compare.html.j2", build_comparison_page(comparison))


def compare(old: FinishedAudit, new: FinishedAudit) -> Comparison:
    """Return what was fixed, what is new and what remains from `old` to `new`.

    Raises
    ------
    RunDirectoryError
        The rows of the two audits cannot be told apart, or a table is damaged.
    """
    sides = _side(old), _side(new)
    leaks, lost = _leaks(old, new)
    return Comparison(
        old=sides[0],
        new=sides[1],
        notes=[*_notes(*sides), *lost],
        labels=_labels(old, new),
        leaks=leaks,
        gates=_gates(old, new),
    )


def _side(audit: FinishedAudit) -> AuditSide:
    report = audit.report
    hashes = {split.role: split.sha256 for split in report.identity.splits}
    return AuditSide(
        name=report.identity.name,
        date=report.identity.date,
        train_rows=len(audit.mislabels),
        train_sha256=audit.train_sha256,
        held_out_sha256=hashes.get("held_out"),
        suspects_sha256=hashes.get("suspects"),
        model_sha256=report.method.model_sha256,
        rows_flagged=None if report.labels is None else int(audit.mislabels["flagged"].sum()),
        suspects_flagged=None if report.leakage is None else len(_flagged_suspects(audit.pairs())),
    )


def _notes(old: AuditSide, new: AuditSide) -> list[str]:
    notes = []
    if old.train_sha256 == new.train_sha256:
        notes.append("Both audits looked at the very same training data.")
    if old.held_out_sha256 != new.held_out_sha256:
        notes.append("The trusted samples changed: labels were judged against others than before.")
    if old.suspects_sha256 != new.suspects_sha256:
        notes.append("The suspects changed.")
    if old.model_sha256 != new.model_sha256:
        notes.append("The model changed: another one judged the rows.")
    elif old.train_sha256 != new.train_sha256:
        notes.append(
            "The model is the one that was trained before the data changed; train it again "
            "before you rely on its metric."
        )
    return notes


def _labels(old: FinishedAudit, new: FinishedAudit) -> LabelChanges | None:
    if old.report.labels is None or new.report.labels is None:
        return None
    keys = comparable_keys(old, new)
    columns = ["row_id", "given_label", "probability", "flagged"]
    # As objects: whole numbers would become fractions, of another text, where a row is missing.
    before, after = (
        audit.mislabels[columns].astype({"row_id": object, "given_label": object}).set_axis(key)
        for audit, key in zip((old, new), keys, strict=True)
    )
    both = before.add_suffix("_old").join(after.add_suffix("_new"), how="outer")
    was = both["flagged_old"].eq(True)
    now = both["flagged_new"].eq(True)
    gone = _rows(both[was & ~now], "probability_old", _how_gone(_kept_by_reviewers(old)))
    return LabelChanges(
        fixed=[row for row in gone if row.change in ("relabeled", "removed")],
        kept=[row for row in gone if row.change == "kept by a reviewer"],
        dropped=[row for row in gone if row.change == "no longer flagged"],
        new=_rows(both[now & ~was], "probability_new", _how_new),
        still=_rows(both[was & now], "probability_new", lambda line: "still"),
        rate_old=old.report.labels.noise_rate,
        rate_new=new.report.labels.noise_rate,
    )


def _rows(
    table: pd.DataFrame, by: str, change: Callable[[dict[str, Any]], RowChange]
) -> list[ChangedRow]:
    ordered = table.sort_values(by, ascending=False, kind="stable")
    return [
        ChangedRow(
            row_id=plain_id(line["row_id_old" if pd.isna(line["row_id_new"]) else "row_id_new"]),
            change=change(line),
            old_label=_label(line["given_label_old"]),
            new_label=_label(line["given_label_new"]),
            old_probability=_number(line["probability_old"]),
            new_probability=_number(line["probability_new"]),
        )
        for line in ordered.to_dict("records")
    ]


def _kept_by_reviewers(audit: FinishedAudit) -> frozenset[str]:
    """Return the rows whose label a reviewer of this audit found right."""
    decisions = audit.report.remediation
    return frozenset(str(item.row_id) for item in decisions if item.decision == "keep")


def _how_gone(kept: frozenset[str]) -> Callable[[dict[str, Any]], RowChange]:
    def how(line: dict[str, Any]) -> RowChange:
        if pd.isna(line["row_id_new"]):
            return "removed"
        if pd.isna(line["given_label_new"]):
            # It was set aside: nobody gave it another label.
            return "no longer flagged"
        if str(line["given_label_old"]) != str(line["given_label_new"]):
            return "relabeled"
        by_a_reviewer = str(line["row_id_old"]) in kept
        return "kept by a reviewer" if by_a_reviewer else "no longer flagged"

    return how


def _how_new(line: dict[str, Any]) -> RowChange:
    if pd.isna(line["row_id_old"]):
        return "added"
    before, after = line["given_label_old"], line["given_label_new"]
    same = pd.isna(before) or str(before) == str(after)
    return "newly flagged" if same else "relabeled"


def _label(value: Any) -> Any:
    return None if pd.isna(value) else plain_label(value)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _leaks(old: FinishedAudit, new: FinishedAudit) -> tuple[LeakChanges | None, list[str]]:
    """Return what became of leaks, or None and why the suspects cannot be told apart."""
    if old.report.leakage is None or new.report.leakage is None:
        return None, []
    tables = old.pairs(), new.pairs()
    counts = [table["query_id"].nunique() for table in tables]
    by_position = [
        (audit.manifest["settings"].get("suspects") or {}).get("id") is None
        and pd.api.types.is_integer_dtype(table["query_id"].dtype)
        for audit, table in zip((old, new), tables, strict=True)
    ]
    if by_position[0] != by_position[1] or (by_position[0] and counts[0] != counts[1]):
        note = (
            f"Leaks are not compared: suspects are told apart by their position among "
            f"{counts[0]:,} before and {counts[1]:,} now; name an id column in audit.yaml "
            "(suspects: {id: ...})."
        )
        return None, [note]
    before, after = map(_flagged_suspects, tables)

    def changed(queries: list[str]) -> list[ChangedSuspect]:
        return [
            ChangedSuspect(
                query_id=plain_id((after.get(query) or before[query])[0]),
                old_row_id=plain_id(before[query][1]) if query in before else None,
                new_row_id=plain_id(after[query][1]) if query in after else None,
            )
            for query in queries
        ]

    found = LeakChanges(
        fixed=changed([query for query in before if query not in after]),
        new=changed([query for query in after if query not in before]),
        still=changed([query for query in after if query in before]),
        metric_name=new.report.leakage.metric_name,
        metric_old=old.report.leakage.metric_clean,
        metric_new=new.report.leakage.metric_clean,
    )
    return found, []


def _flagged_suspects(table: pd.DataFrame) -> dict[str, tuple[Any, Any]]:
    """Return each flagged suspect and its best match, by its id as text, as the table has them.

    A number is the same id whether a file holds it as one or as text.
    """
    flagged = table[table["flagged"]].drop_duplicates("query_id")
    pairs = zip(flagged["query_id"].tolist(), flagged["row_id"].tolist(), strict=True)
    return {str(query): (query, row) for query, row in pairs}


def _gates(old: FinishedAudit, new: FinishedAudit) -> list[GateChange]:
    before, after = (
        {gate.name: gate for gate in audit.report.verdict.gates} for audit in (old, new)
    )
    return [
        GateChange(
            name=name,
            old_found=before[name].found if name in before else None,
            old_limit=before[name].limit if name in before else None,
            old_passed=before[name].passed if name in before else None,
            old_outcome=before[name].outcome if name in before else None,
            new_found=after[name].found if name in after else None,
            new_limit=after[name].limit if name in after else None,
            new_passed=after[name].passed if name in after else None,
            new_outcome=after[name].outcome if name in after else None,
        )
        for name in dict.fromkeys([*before, *after])
    ]

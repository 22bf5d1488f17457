"""The demonstration: audit the sample data, then compare with the faults that were planted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dataaudit.report.result import AuditResult
from dataaudit.resources import resource_folder
from dataaudit.stages.auditing import run_file


def run_demo(out: Path) -> tuple[AuditResult, list[str]]:
    """Audit `sample_data/`; return the result and lines that say what was found of the truth."""
    folder = resource_folder("sample_data")
    result = run_file(folder / "audit.yaml", out, overwrite=True)
    return result, [*_mislabels_found(result, folder), *_leaks_found(result, folder)]


def _mislabels_found(result: AuditResult, folder: Path) -> list[str]:
    truth = pd.read_csv(folder / "truth_mislabels.csv").set_index("row_id")["true_label"]
    flagged = result.mislabels[result.mislabels["flagged"]].set_index("row_id")
    hits = flagged.index.intersection(truth.index)
    right = int((flagged.loc[hits, "suggested_label"] == truth[hits]).sum())
    return [
        f"planted wrong labels: found {len(hits)} of {len(truth)}; {len(flagged)} rows flagged, "
        f"so {len(hits) / max(1, len(flagged)):.0%} of the flags are right",
        f"suggested labels: right for {right} of the {len(hits)} found",
    ]


def _leaks_found(result: AuditResult, folder: Path) -> list[str]:
    truth = pd.read_csv(folder / "truth_leaks.csv")
    pairs = result.contamination
    flagged = pairs[pairs["flagged"]]
    best = flagged[flagged["rank"] == 1].set_index("query_id")["row_id"]
    partner = truth["query_id"].map(best)
    lines = []
    for kind, group in truth.groupby("kind", sort=False):
        found = int(partner[group.index].eq(group["row_id"]).sum())
        lines.append(f"planted leaks, {kind}: found {found} of {len(group)} with their source")
    others = len(best.index.difference(truth["query_id"]))
    lines.append(f"suspects flagged that were not planted: {others}")
    return lines

"""Wrong labels among the training rows: what the flagging stage found, as a check."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.examined import Examined


def issues_of(table: pd.DataFrame) -> list[Issue]:
    """Return a line for each flagged row of `mislabels.parquet`, the most suspicious first."""
    flagged = table[table["flagged"]].sort_values("rank")
    columns = ("given_label", "suggested_label", "score", "row_id")
    return [
        Issue(_words(given, suggested), "train", float(score), row_id)
        for given, suggested, score, row_id in zip(
            *(flagged[name].tolist() for name in columns), strict=True
        )
    ]


def _words(given: Any, suggested: Any) -> str:
    """Return what is doubted; of answers, and of some masks, nothing is suggested instead."""
    if pd.isna(suggested) or str(suggested) == str(given):
        return f"given {given}, probably wrong"
    return f"given {given}, more likely {suggested}"


class Labels(Check):
    """A line for each flagged row. The labels' own pages show them."""

    name = "labels"
    title = "Wrong labels"
    own_pages = True

    def lacking(self, data: Examined) -> str | None:
        """Return why no label was judged."""
        return None if data.mislabels is not None else "no label was judged: that needs a model"

    def look(self, data: Examined) -> Found:
        """Read what was flagged."""
        assert data.mislabels is not None
        issues = issues_of(data.mislabels.table)
        doubts = data.mislabels.doubts
        return Found("; ".join(doubts) or f"{len(issues)} rows.", issues, bool(doubts))

"""Suspects that are in the training set: what the flagging stage found, as a check."""

from __future__ import annotations

from dataaudit.checks.check import MISSING, Check, Found, Issue
from dataaudit.checks.examined import Examined


class Leaks(Check):
    """A line for each flagged suspect. The leaks' own pages show them."""

    name = "leaks"
    title = "Suspects in the training set"
    own_pages = True

    def lacking(self, data: Examined) -> str | None:
        """Return why no leak was looked for."""
        return None if data.contamination is not None else MISSING["suspects"]

    def look(self, data: Examined) -> Found:
        """Read what was flagged: each suspect with its best match."""
        assert data.contamination is not None
        table = data.contamination.table
        flagged = table[table["flagged"]].drop_duplicates("query_id")
        issues = [
            Issue(f"matches training row {row}", "suspects", float(score), suspect)
            for suspect, row, score in zip(
                *(flagged[name].tolist() for name in ("query_id", "row_id", "score")), strict=True
            )
        ]
        doubts = data.contamination.doubts
        return Found("; ".join(doubts) or f"{len(issues)} suspects.", issues, bool(doubts))

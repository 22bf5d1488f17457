"""The sections of further checks, as the template prints them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataaudit.report import formats
from dataaudit.report.data import CheckSection
from dataaudit.report.page_parts import Table


@dataclass(frozen=True)
class CheckView:
    """The section of one check."""

    name: str
    title: str
    outcome: str
    text: str
    table: Table | None
    left_out: str


def view_checks(checks: Sequence[CheckSection], outcomes: Sequence[str]) -> list[CheckView]:
    """Return the sections of checks with some outcomes, in the order of these."""
    chosen = [check for check in checks if check.outcome in outcomes]
    return [_view(check) for check in sorted(chosen, key=lambda item: outcomes.index(item.outcome))]


def _view(check: CheckSection) -> CheckView:
    left_out = (check.count or 0) - len(check.lines)
    return CheckView(
        name=check.name,
        title=check.title,
        outcome=check.outcome,
        text=check.text,
        table=Table(check.title, check.header, [[*line] for line in check.lines])
        if check.lines
        else None,
        left_out=f"{formats.rows(left_out, 'line')} more in issues.parquet." if left_out else "",
    )

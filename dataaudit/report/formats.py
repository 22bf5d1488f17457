"""Numbers and labels as the report prints them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

from dataaudit.labels.masks import without_codes
from dataaudit.report.data import Estimate, Label

MONTHS = [
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
]  # fmt: skip


def count(number: float) -> str:
    """Return a whole number with separators: `12,345`."""
    return f"{round(number):,}"


def rows(number: float, noun: str = "row", nouns: str | None = None) -> str:
    """Return a whole number with its noun: `1 row`, `12,345 rows`, `2 classes`."""
    if round(number) == 1:
        return f"{count(number)} {noun}"
    return f"{count(number)} {nouns or f'{noun}s'}"


def percent(share: float) -> str:
    """Return a share as a percentage that never rounds something to nothing or to all."""
    if share == 0 or share == 1:
        return f"{share:.0%}"
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{100 * share:.1f}%"


def set_percent(share: float) -> str:
    """Return a share that a person has set, or a tick of an axis, without needless zeros."""
    return f"{100 * share:.3g}%"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "−") + " points"


def number(value: float) -> str:
    """Return a measured value with three significant digits, at most four of them decimals."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    if abs(value) < 0.001:
        return f"{value:.1e}".replace("-", "−")
    decimals = min(max(0, 2 - math.floor(math.log10(abs(value)))), 4)
    return f"{value:.{decimals}f}".replace("-", "−")


def set_number(value: float) -> str:
    """Return a number that a person has set, or a tick of an axis, without needless zeros."""
    return f"{value:,.10g}".replace("-", "−")


def p_value(value: float | None) -> str:
    """Return a p-value; very small ones as a bound."""
    if value is None:
        return "not computed"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def share_interval(estimate: Estimate) -> str:
    """Return the 95 % interval of a share: `10.2% to 13.5%`."""
    return f"{percent(estimate.low)} to {percent(estimate.high)}"


def may_be_all(share: Estimate) -> bool:
    """Tell whether nothing bounds a share from above, so that its estimate is no finding."""
    return share.high >= 1.0


def of_rows(share: Estimate, number: int) -> str:
    """Return the 95 % interval of a share of some rows as numbers of them: `8 to 12`."""
    return f"{count(round(share.low * number))} to {count(round(share.high * number))}"


def metric(value: float) -> str:
    """Return a metric: a share as a percentage, anything else as a number."""
    return percent(value) if 0 <= value <= 1 else number(value)


def metric_tick(value: float) -> str:
    """Return a tick on the axis of a metric."""
    return set_percent(value) if 0 <= value <= 1 else set_number(value)


def label(value: Label) -> str:
    """Return a label as the report prints it; regression targets with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else without_codes(str(value))


def long_date(iso: str) -> str:
    """Return an ISO date or time as `23 November 2026`."""
    day = date.fromisoformat(iso[:10])
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def sentences(reasons: Sequence[str]) -> str:
    """Return reasons, which begin in lower case and have no full stop, as running text."""
    return " ".join(f"{reason[:1].upper()}{reason[1:]}." for reason in reasons)


def words(name: str) -> str:
    """Return a field name in words: `mirrored_influence` becomes `mirrored influence`."""
    return name.replace("_", " ")

"""A limit, what was found, and its interval, on one line drawn to scale."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from dataaudit.report.charts.drawing import SMALL, Scale, svg


def limit_line(
    name: str,
    title: str,
    limit: float,
    found: float | None,
    interval: tuple[float, float] | None,
    form: Callable[[float], str],
    limit_form: Callable[[float], str],
) -> Markup:
    """Draw a limit beside what was found, from nothing to a little beyond the larger of them.

    Parameters
    ----------
    name : str
        Unique on the page; ids are made from it.
    title : str
    limit : float
    found : float or None
        None where it was not measured: then the limit stands alone.
    interval : (low, high) or None
        None where the number was counted.
    form, limit_form : function
        How what was found, and the limit, are printed.
    """
    highest = max([limit, found or 0.0, *(interval or ())]) or 1.0
    across = Scale(0, 1.15 * highest, 8, SMALL - 8)
    y, x = 30, across(limit)
    anchor = "start" if x < 40 else "end" if x > SMALL - 60 else "middle"
    parts = [
        Markup('<line class="axis" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
            across.start, across.stop, y=y
        ),
        Markup('<rect class="allowed" x="{}" y="{}" width="{}" height="12" rx="3"/>').format(
            across.start, y - 6, round(max(x - across.start, 1.0), 1)
        ),
    ]
    if interval is not None:
        parts.append(
            Markup('<line class="interval" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
                across(interval[0]), across(interval[1]), y=y
            )
        )
    if found is not None:
        parts.append(Markup('<circle class="dot" cx="{}" cy="{}" r="6"/>').format(across(found), y))
    parts.append(
        Markup(
            '<line class="limit" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
            '<text x="{x}" y="12" text-anchor="{anchor}">limit {limit}</text>'
        ).format(x=x, top=17, bottom=y + 10, anchor=anchor, limit=limit_form(limit))
    )
    words = "not measured" if found is None else f"found {form(found)}"
    if interval is not None:
        words += f", 95% interval {form(interval[0])} to {form(interval[1])}"
    return svg(name, y + 14, title, f"{words}; limit {limit_form(limit)}.", parts, SMALL)

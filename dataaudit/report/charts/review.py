"""What a review is expected to find, by the number of rows reviewed."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from dataaudit.report import formats
from dataaudit.report.charts.drawing import WIDTH, Scale, axis, svg, ticks


def expected_found(
    name: str,
    title: str,
    budgets: Sequence[int],
    found: Sequence[float],
    flagged: int,
) -> tuple[Markup, list[tuple[float, float]]]:
    """Draw how many wrong labels the first rows are expected to hold.

    Returns
    -------
    (Markup, list of (x, y))
        The chart, and where each budget lies in it, so that the page can move its marker.
    """
    left, right, top, bottom = 50, WIDTH - 14, 34, 192
    across = Scale(0, budgets[-1], left, right)
    up = Scale(0, max(found[-1], max(found), 1e-9), bottom, top)
    places = [(across(budget), up(value)) for budget, value in zip(budgets, found, strict=True)]
    line = f"M{left} {bottom}" + "".join(f"L{x} {y}" for x, y in places)
    parts = [axis(across, 0, budgets[-1], bottom, formats.count, wanted=4)]
    for tick in ticks(0, up.high, 4):
        y = up(tick)
        parts.append(
            Markup(
                '<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
                '<text x="{text_x}" y="{text_y}" text-anchor="end">{value}</text>'
            ).format(
                left=left,
                right=right,
                y=y,
                text_x=left - 8,
                text_y=y + 4,
                value=formats.set_number(tick),
            )
        )
    parts.append(
        Markup(
            '<text class="axis-name" x="0" y="14">↑ wrong labels found</text>'
            '<text class="axis-name" x="{}" y="{}" text-anchor="end">rows reviewed →</text>'
        ).format(right, bottom + 36)
    )
    perfect = min(up.high, budgets[-1])
    parts.append(
        Markup('<path class="reference" d="M{} {}L{} {}"/>').format(
            left, bottom, across(perfect), up(perfect)
        )
    )
    parts.append(
        Markup('<path class="found-area" d="{}L{} {}Z"/><path class="found-line" d="{}"/>').format(
            line, places[-1][0], bottom, line
        )
    )
    if flagged:
        parts.append(
            Markup(
                '<line class="threshold" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
                '<text class="axis-name" x="{text_x}" y="{text_y}">flagged</text>'
            ).format(
                x=across(flagged),
                top=top,
                bottom=bottom,
                text_x=across(flagged) + 5,
                text_y=bottom - 8,
            )
        )
    parts.append(
        Markup('<circle class="marker" id="{}-marker" cx="{}" cy="{}" r="6"/>').format(
            name, left, bottom
        )
    )
    description = (
        f"Reviewing {formats.rows(budgets[-1])} would find about {formats.count(found[-1])} wrong "
        f"labels. The dashed line is a review in which every row is wrong."
    )
    return svg(name, bottom + 44, title, description, parts), places

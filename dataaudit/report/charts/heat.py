"""Given against true labels, as a table whose cells darken with their share of the line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from markupsafe import Markup

from dataaudit.report import formats
from dataaudit.report.charts.drawing import NAME_WIDTH, WIDTH, shortened, svg

SHADES = (0.002, 0.01, 0.03, 0.1, 0.2, 0.4)
"""From these shares of the rows of a label on, a cell is a step darker: the same on every page."""


def noise_heat(
    name: str,
    title: str,
    given: Sequence[str],
    true: Sequence[str],
    rows: Sequence[Sequence[float]],
) -> Markup:
    """Draw, of the rows of each given class (lines), the share that is another (columns).

    The diagonal holds the rows expected to be right and is left pale, since errors are what the
    eye should find. Numbers are printed while the cells are wide enough.
    """
    left, top = NAME_WIDTH - 18, 62
    cell = min((WIDTH - left - 8) / max(len(true), 1), 66)
    line_height = min(cell, 34)
    height = top + line_height * len(given) + 12
    parts = [
        Markup('<text class="axis-name" x="{}" y="14">expected true label →</text>').format(left),
        Markup('<text class="axis-name" x="0" y="{}">given label ↓</text>').format(top - 8),
    ]
    slanted = cell < 40 and max((len(label) for label in true), default=0) > 3
    for column, label in enumerate(true):
        x = round(left + (column + 0.5) * cell, 1)
        placed = (
            Markup('transform="translate({} {}) rotate(-40)" text-anchor="start"').format(
                x, top - 6
            )
            if slanted
            else Markup('x="{}" y="{}" text-anchor="middle"').format(x, top - 8)
        )
        parts.append(Markup("<text {}>{}</text>").format(placed, shortened(label, 9)))
    for line, (label, values) in enumerate(zip(given, rows, strict=True)):
        y = top + line * line_height
        total = sum(values) or 1.0
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
                left - 8, round(y + line_height / 2 + 4, 1), shortened(label, 13)
            )
        )
        for column, (other, value) in enumerate(zip(true, values, strict=True)):
            right = label == other
            parts.append(
                _heat_cell(
                    round(left + column * cell, 1),
                    round(y, 1),
                    cell,
                    line_height,
                    value / total,
                    "right" if right else f"heat-{bisect_right(SHADES, value / total)}",
                    f"{label} given, {other} expected: {formats.percent(value / total)}, about "
                    f"{formats.rows(value)}",
                )
            )
    description = (
        "Lines are the labels given, columns the labels expected to be true. Cells darken at "
        f"{', '.join(map(formats.set_percent, SHADES))} of their line. The numbers are in the "
        "table that follows."
    )
    return svg(name, round(height), title, description, parts)


def _heat_cell(
    x: float, y: float, width: float, height: float, share: float, style: str, hint: str
) -> Markup:
    cell = Markup(
        '<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{height}" rx="2">'
        "<title>{hint}</title></rect>"
    ).format(
        style=style,
        x=x,
        y=y,
        width=round(width - 1.5, 1),
        height=round(height - 1.5, 1),
        hint=hint,
    )
    if width < 34 or share < SHADES[0]:
        return cell
    return cell + Markup(
        '<text class="in-{style}" x="{x}" y="{y}" text-anchor="middle">{value}</text>'
    ).format(
        style=style,
        x=round(x + width / 2 - 0.7, 1),
        y=round(y + height / 2 + 3.5, 1),
        value=f"{100 * share:.0f}%" if share >= 0.0095 else f"{100 * share:.1f}%",
    )

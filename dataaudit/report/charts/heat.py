"""Given against true labels, as a table whose cells darken with their rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from dataaudit.report import formats
from dataaudit.report.charts.drawing import NAME_WIDTH, WIDTH, shortened, svg


def noise_heat(
    name: str,
    title: str,
    given: Sequence[str],
    true: Sequence[str],
    rows: Sequence[Sequence[float]],
) -> Markup:
    """Draw expected rows by given class (lines) and true class (columns).

    The diagonal holds the rows expected to be right and is left pale, since errors are what the
    eye should find. Numbers are printed while the cells are wide enough.
    """
    left, top = NAME_WIDTH - 18, 62
    cell = min((WIDTH - left - 8) / max(len(true), 1), 66)
    line_height = min(cell, 34)
    height = top + line_height * len(given) + 12
    largest = max(
        (
            value
            for label, line in zip(given, rows, strict=True)
            for other, value in zip(true, line, strict=True)
            if label != other
        ),
        default=0.0,
    )
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
                    value,
                    "right" if right else f"heat-{_heat(value, largest)}",
                    f"{label} given, {other} expected: {formats.number(value)} rows",
                )
            )
    description = (
        "Lines are the labels given, columns the labels expected to be true. The darkest cell "
        f"holds {formats.number(largest)} rows. The numbers are in the table that follows."
    )
    return svg(name, round(height), title, description, parts)


def _heat_cell(
    x: float, y: float, width: float, height: float, value: float, style: str, hint: str
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
    if width < 24 or value < 0.5:
        return cell
    return cell + Markup(
        '<text class="in-{style}" x="{x}" y="{y}" text-anchor="middle">{value}</text>'
    ).format(
        style=style,
        x=round(x + width / 2 - 0.7, 1),
        y=round(y + height / 2 + 3.5, 1),
        value=formats.count(value) if value < 10_000 else f"{value / 1000:.0f}k",
    )


def _heat(value: float, largest: float) -> int:
    """Return the step of the heat scale, 0 to 6; roots, so that small errors are seen."""
    if value < 0.05 or largest <= 0:
        return 0
    return min(6, 1 + int(5.999 * math.sqrt(value / largest)))

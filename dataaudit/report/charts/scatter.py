"""Points: what was predicted against what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from dataaudit.report import formats
from dataaudit.report.charts.drawing import NARROW, Scale, svg, ticks

MOST_POINTS = 800
"""More would make the page heavy and the chart a blot."""


def scatter(
    name: str,
    title: str,
    across: tuple[str, Sequence[float]],
    up: tuple[str, Sequence[float]],
    style: str = "kept",
) -> Markup:
    """Draw points with a name for each axis.

    Parameters
    ----------
    name : str
        Unique on the page; ids are made from it.
    title : str
    across, up : (name, values `[points]`)
        Every n-th point is drawn where there are more than `MOST_POINTS`.
    style : "kept", "flagged"
        Gives the points their colour.
    """
    left, right, top, bottom = 56, NARROW - 12, 22, 232
    (across_name, across_values), (up_name, up_values) = across, up
    horizontal = _scale(across_values, left, right)
    vertical = _scale(up_values, bottom, top)
    parts = [_axes(horizontal, vertical, across_name, up_name)]
    step = -(-len(across_values) // MOST_POINTS) or 1
    parts += [
        Markup('<circle class="{}-area" cx="{}" cy="{}" r="3"/>').format(
            style, horizontal(x), vertical(y)
        )
        for x, y in list(zip(across_values, up_values, strict=True))[::step]
    ]
    description = (
        f"{formats.rows(len(across_values), 'point')}: {up_name}, from "
        f"{formats.number(vertical.low)} to {formats.number(vertical.high)}, against "
        f"{across_name}, from {formats.number(horizontal.low)} to "
        f"{formats.number(horizontal.high)}."
    )
    return svg(name, bottom + 46, title, description, parts, NARROW)


def _scale(values: Sequence[float], start: float, stop: float) -> Scale:
    low, high = (min(values), max(values)) if len(values) else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.5
    return Scale(low - margin, high + margin, start, stop)


def _axes(horizontal: Scale, vertical: Scale, across_name: str, up_name: str) -> Markup:
    parts = []
    for tick in ticks(horizontal.low, horizontal.high, 4):
        x = horizontal(tick)
        parts.append(
            Markup(
                '<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
                '<text x="{x}" y="{text_y}" text-anchor="middle">{value}</text>'
            ).format(
                x=x,
                top=vertical.stop,
                bottom=vertical.start,
                text_y=vertical.start + 16,
                value=formats.set_number(tick),
            )
        )
    for tick in ticks(vertical.low, vertical.high, 4):
        y = vertical(tick)
        parts.append(
            Markup(
                '<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
                '<text x="{text_x}" y="{text_y}" text-anchor="end">{value}</text>'
            ).format(
                left=horizontal.start,
                right=horizontal.stop,
                y=y,
                text_x=horizontal.start - 6,
                text_y=y + 4,
                value=formats.set_number(tick),
            )
        )
    parts.append(
        Markup(
            '<text class="axis-name" x="{right}" y="{below}" text-anchor="end">{across} →</text>'
            '<text class="axis-name" x="0" y="12">↑ {up}</text>'
        ).format(right=horizontal.stop, below=vertical.start + 36, across=across_name, up=up_name)
    )
    return Markup("").join(parts)

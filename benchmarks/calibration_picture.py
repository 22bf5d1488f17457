"""A picture of claimed against actual precision, as an SVG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

SIDE, MARGIN = 560, 60
COLOURS = {"tuned": "#8a8f98", "untuned": "#1f5fbf", "scattered": "#b35c00"}
NAMED = 5
"""So many of the worst points carry the name of their cell."""

Point = tuple[str, str, float, float]
"""Cell, rows looked at, claimed, actual."""


def picture(parts: Mapping[str, Sequence[Point]]) -> str:
    """Return the picture of all points, by part of the benchmark."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE + 320} {SIDE + 2 * MARGIN}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *(_band(off, colour) for off, colour in ((0.1, "#eef1f5"), (0.05, "#dfe5ec"))),
        f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="#555c66"/>',
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        lines.append(f'<text x="{_x(tick)}" y="{_y(0) + 20}" text-anchor="middle">{tick:g}</text>')
        lines.append(f'<text x="{_x(0) - 10}" y="{_y(tick) + 4}" text-anchor="end">{tick:g}</text>')
    middle = MARGIN + SIDE / 2
    lines.append(f'<text x="{middle}" y="{_y(0) + 42}" text-anchor="middle">claimed</text>')
    lines.append(f'<text x="{MARGIN}" y="{MARGIN - 16}">actual precision</text>')
    for place, (part, points) in enumerate(parts.items()):
        colour = COLOURS[part]
        for cell, looked_at, claimed, actual in points:
            title = f"{cell}, {looked_at}: claimed {claimed:.2f}, actual {actual:.2f}"
            lines.append(
                f'<circle cx="{_x(claimed)}" cy="{_y(actual)}" r="3.2" fill="{colour}" '
                f'fill-opacity="0.6"><title>{escape(title)}</title></circle>'
            )
        lines.append(f'<circle cx="{SIDE + 85}" cy="{MARGIN + 20 * place}" r="5" fill="{colour}"/>')
        lines.append(f'<text x="{SIDE + 97}" y="{MARGIN + 4 + 20 * place}">{part}</text>')
    every = [point for points in parts.values() for point in points]
    lines.append(f'<text x="{SIDE + 80}" y="{MARGIN + 70}">worst:</text>')
    worst = sorted(every, key=lambda point: -abs(point[2] - point[3]))[:NAMED]
    for place, (cell, looked_at, claimed, actual) in enumerate(worst):
        y = MARGIN + 95 + 40 * place
        lines.append(f'<text x="{SIDE + 80}" y="{y}">{escape(cell)}</text>')
        lines.append(
            f'<text x="{SIDE + 80}" y="{y + 16}">{looked_at}: {claimed:.2f} : {actual:.2f}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _band(off: float, colour: str) -> str:
    corners = ((0, 0), (0, off), (1 - off, 1), (1, 1), (1, 1 - off), (off, 0))
    points = " ".join(f"{_x(x)},{_y(y)}" for x, y in corners)
    return f'<polygon points="{points}" fill="{colour}"/>'


def _x(value: float) -> float:
    return round(MARGIN + SIDE * value, 1)


def _y(value: float) -> float:
    return round(MARGIN + SIDE * (1 - value), 1)

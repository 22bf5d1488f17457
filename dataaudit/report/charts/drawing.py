"""What all charts are drawn with: scales, ticks, axes, legends, the image around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 440
"""Units across a chart that stands beside one other."""
NARROW = 320
"""Units across a chart that stands beside two others."""
SMALL = 240
"""Units across a line that stands beside words."""
NAME_WIDTH = 112
"""Units left for names of classes."""


@dataclass(frozen=True)
class Scale:
    """A straight line from numbers to units of the drawing."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Return where the value lies, to a tenth of a unit."""
        span = (self.high - self.low) or 1.0
        share = min(max((value - self.low) / span, 0.0), 1.0)
        return round(self.start + share * (self.stop - self.start), 1)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers between two limits, about as many as wanted."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / wanted
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def svg(
    name: str,
    height: float,
    title: str,
    description: str,
    parts: Sequence[Markup],
    width: float = WIDTH,
) -> Markup:
    """Return a chart as an image with a title and a description; `name` is unique on the page."""
    return Markup(
        '<svg class="chart {style}" role="img" viewBox="0 0 {width} {height}" '
        'aria-labelledby="{name}-title {name}-description">'
        '<title id="{name}-title">{title}</title><desc id="{name}-description">{description}'
        "</desc>{parts}</svg>"
    ).format(
        style="small" if width == SMALL else "narrow" if width == NARROW else "broad",
        width=width,
        height=height,
        name=name,
        title=title,
        description=description,
        parts=Markup("").join(parts),
    )


def axis(
    across: Scale,
    low: float,
    high: float,
    bottom: float,
    form: Callable[[float], str],
    wanted: int = 5,
) -> Markup:
    """Draw a horizontal axis at the height `bottom`, with about `wanted` ticks."""
    parts = [
        Markup('<line class="axis" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
            across.start, across.stop, y=bottom
        )
    ]
    for tick in ticks(low, high, wanted):
        x = across(tick)
        anchor = "start" if x < 14 else "end" if x > across.stop - 6 else "middle"
        parts.append(
            Markup(
                '<line class="axis" x1="{x}" x2="{x}" y1="{y1}" y2="{y2}"/>'
                '<text x="{x}" y="{y3}" text-anchor="{anchor}">{value}</text>'
            ).format(x=x, y1=bottom, y2=bottom + 4, y3=bottom + 18, anchor=anchor, value=form(tick))
        )
    return Markup("").join(parts)


def legend(x: float, style: str, text: str) -> Markup:
    """Draw a patch of a style's colour with what it stands for."""
    return Markup(
        '<rect class="{style}-area" x="{x}" y="4" width="14" height="10" rx="2"/>'
        '<text x="{text_x}" y="13">{text}</text>'
    ).format(style=style, x=x, text_x=x + 20, text=text)


def shortened(text: str, longest: int) -> str:
    """Return the text, cut off with an ellipsis where it is longer than the drawing has room."""
    return text if len(text) <= longest else text[: longest - 1] + "…"

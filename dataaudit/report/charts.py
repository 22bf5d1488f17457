"""Charts as inline SVG: numbers in, markup out.

Every chart is an image with a title and a description; the page puts the numbers in a table
beside it. Colours and fonts come from classes, so that the page's light and dark themes hold.
Widths are those of a phone: text stays legible where charts shrink.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from dataaudit.report import formats
from dataaudit.report.data import Estimate

WIDTH = 440
"""Units across a chart that stands beside one other."""
NARROW = 320
"""Units across a chart that stands beside two others."""
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


def score_distribution(
    name: str,
    title: str,
    edges: Sequence[float],
    kept: Sequence[int],
    flagged: Sequence[int],
    threshold: float | None = None,
    form: Callable[[float], str] = formats.set_number,
) -> Markup:
    """Draw how a score is distributed among the rows flagged and the rows kept.

    Parameters
    ----------
    name : str
        Unique on the page; ids are made from it.
    title : str
    edges : `[bins + 1]`
    kept, flagged : `[bins]`
        Rows per bin. Each group is drawn as shares of itself: flagged rows are few.
    threshold : float, optional
        Drawn as a line.
    form : function
        How values of the score are printed.
    """
    height, bottom, top = 212, 180, 52
    across = Scale(edges[0], edges[-1], 10, NARROW - 10)
    shares = [[rows / max(sum(group), 1) for rows in group] for group in (kept, flagged)]
    up = Scale(0, max((max(group) for group in shares), default=1.0) or 1.0, bottom, top)
    parts = [
        _axis(across, edges[0], edges[-1], bottom, form, wanted=4),
        _legend(10, "kept", f"{formats.count(sum(kept))} kept"),
        _legend(130, "flagged", f"{formats.count(sum(flagged))} flagged"),
    ]
    for group, style in zip(shares, ("kept", "flagged"), strict=True):
        if sum(group):
            parts.append(_steps(edges, group, across, up, bottom, style))
    if threshold is not None:
        x = across(threshold)
        anchor, shift = ("end", -6) if x > NARROW / 2 else ("start", 6)
        parts.append(
            Markup(
                '<line class="threshold" x1="{x}" x2="{x}" y1="30" y2="{bottom}"/>'
                '<text class="strong" x="{text_x}" y="40" text-anchor="{anchor}">'
                "flagged from {value}</text>"
            ).format(x=x, bottom=bottom, text_x=x + shift, anchor=anchor, value=form(threshold))
        )
    description = (
        f"{formats.rows(sum(flagged), 'flagged row')} and {formats.rows(sum(kept), 'kept row')}, "
        "each group drawn to the same total. "
        f"Flagged rows: {_where(edges, flagged)}. Kept rows: {_where(edges, kept)}."
    )
    return _svg(name, height, title, description, parts, NARROW)


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
        parts.append(Markup("<text {}>{}</text>").format(placed, _short(label, 9)))
    for line, (label, values) in enumerate(zip(given, rows, strict=True)):
        y = top + line * line_height
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
                left - 8, round(y + line_height / 2 + 4, 1), _short(label, 13)
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
    return _svg(name, round(height), title, description, parts)


def noise_rates(
    name: str,
    title: str,
    classes: Sequence[str],
    estimates: Sequence[Estimate | None],
    overall: Estimate | None,
    overall_name: str = "all classes",
) -> Markup:
    """Draw the estimated share of wrong labels of each class or group, with its 95 % interval."""
    known = [item for item in estimates if item is not None]
    highest = max([item.high for item in known] + ([overall.high] if overall else []) + [0.001])
    line_height, top = 30, 26
    bottom = top + line_height * len(classes)
    across = Scale(0, highest, NAME_WIDTH, WIDTH - 16)
    parts = [_axis(across, 0, highest, bottom, formats.set_percent, wanted=4)]
    if overall is not None:
        x = across(overall.estimate)
        parts.append(
            Markup(
                '<line class="reference" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
                '<text class="axis-name" x="{x}" y="14" text-anchor="middle">{name} {value}'
                "</text>"
            ).format(
                x=x,
                top=top - 6,
                bottom=bottom,
                name=overall_name,
                value=formats.percent(overall.estimate),
            )
        )
    for line, (label, item) in enumerate(zip(classes, estimates, strict=True)):
        y = top + line * line_height + line_height / 2
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
                NAME_WIDTH - 10, y + 4, _short(label, 14)
            )
        )
        if item is not None:
            parts.append(_dot_with_interval(across, y, item, "flagged", formats.percent))
    description = ". ".join(
        f"{label}: not estimated"
        if item is None
        else f"{label}: {formats.percent(item.estimate)} ({formats.share_interval(item)})"
        for label, item in zip(classes, estimates, strict=True)
    )
    return _svg(name, bottom + 32, title, description, parts)


def metric_comparison(
    name: str, title: str, metric_name: str, everything: Estimate, clean: Estimate
) -> Markup:
    """Draw the metric on all suspects and without the flagged ones, with 95 % intervals."""
    lowest = min(everything.low, clean.low)
    highest = max(everything.high, clean.high)
    margin = 0.12 * (highest - lowest) or 0.01
    low, high = lowest - margin, highest + margin
    if lowest >= 0:
        low = max(low, 0.0)
    if highest <= 1:
        high = min(high, 1.0)
    across = Scale(low, high, 16, NARROW - 16)
    top, line_height = 18, 62
    bottom = top + 2 * line_height
    parts = [_axis(across, low, high, bottom, formats.metric_tick, wanted=4)]
    for line, (label, item, style) in enumerate(
        (("with the leaked samples", everything, "leak"), ("without them", clean, "clean"))
    ):
        y = top + line * line_height + 40
        text_x, anchor = (NARROW - 16, "end") if line else (16, "start")
        parts.append(
            Markup(
                '<text class="strong {style}-text" x="{x}" y="{y}" text-anchor="{anchor}">'
                "{value} {label}</text>"
            ).format(
                style=style,
                x=text_x,
                y=y - 18,
                anchor=anchor,
                value=formats.metric(item.estimate),
                label=label,
            )
        )
        parts.append(_dot_with_interval(across, y, item, style, formats.metric))
    description = (
        f"{metric_name} with the leaked samples: {_metric_interval(everything)}. "
        f"Without them: {_metric_interval(clean)}."
    )
    return _svg(name, bottom + 32, title, description, parts, NARROW)


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
    left, right, top, bottom = 50, WIDTH - 14, 18, 176
    across = Scale(0, budgets[-1], left, right)
    up = Scale(0, max(found[-1], max(found), 1e-9), bottom, top)
    places = [(across(budget), up(value)) for budget, value in zip(budgets, found, strict=True)]
    line = f"M{left} {bottom}" + "".join(f"L{x} {y}" for x, y in places)
    parts = [_axis(across, 0, budgets[-1], bottom, formats.count, wanted=4)]
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
    return _svg(name, bottom + 32, title, description, parts), places


def count_bars(
    name: str,
    title: str,
    labels: Sequence[str],
    values: Sequence[int],
    words: Sequence[str],
    style: str,
) -> Markup:
    """Draw counts as bars, each with its name above it and its number in words beside it."""
    line_height = 40
    across = Scale(0, max([*values, 1]), 0, NARROW - 70)
    parts = []
    for line, (label, value, word) in enumerate(zip(labels, values, words, strict=True)):
        y = line * line_height + 14
        length = max(across(value), 2 if value else 0)
        parts.append(
            Markup(
                '<text class="strong" x="0" y="{y}">{label}</text>'
                '<rect class="bar-{style}" x="0" y="{bar_y}" width="{length}" height="10" rx="3"/>'
                '<text x="{text_x}" y="{text_y}">{word}</text>'
            ).format(
                y=y,
                label=_short(label, 40),
                style=style,
                bar_y=y + 7,
                length=length,
                text_x=length + 8,
                text_y=y + 16,
                word=word,
            )
        )
    description = ". ".join(f"{label}: {word}" for label, word in zip(labels, words, strict=True))
    return _svg(name, line_height * len(labels) + 4, title, description, parts, NARROW)


def bar(share: float, style: str) -> Markup:
    """Draw a share as a small bar for a table cell, which gives the number in words."""
    return Markup(
        '<svg class="bar {style}" viewBox="0 0 100 6" aria-hidden="true" focusable="false" '
        'preserveAspectRatio="none"><rect class="bar-back" width="100" height="6"/>'
        '<rect class="bar-fill" width="{width}" height="6"/></svg>'
    ).format(style=style, width=round(100 * min(max(share, 0.0), 1.0), 1))


def _svg(
    name: str,
    height: float,
    title: str,
    description: str,
    parts: Sequence[Markup],
    width: float = WIDTH,
) -> Markup:
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {width} {height}" '
        'aria-labelledby="{name}-title {name}-description">'
        '<title id="{name}-title">{title}</title><desc id="{name}-description">{description}'
        "</desc>{parts}</svg>"
    ).format(
        width=width,
        height=height,
        name=name,
        title=title,
        description=description,
        parts=Markup("").join(parts),
    )


def _legend(x: float, style: str, text: str) -> Markup:
    return Markup(
        '<rect class="{style}-area" x="{x}" y="4" width="14" height="10" rx="2"/>'
        '<text x="{text_x}" y="13">{text}</text>'
    ).format(style=style, x=x, text_x=x + 20, text=text)


def _axis(
    across: Scale,
    low: float,
    high: float,
    bottom: float,
    form: Callable[[float], str],
    wanted: int = 5,
) -> Markup:
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


def _steps(
    edges: Sequence[float],
    heights: Sequence[float],
    across: Scale,
    up: Scale,
    bottom: float,
    style: str,
) -> Markup:
    path = f"M{across(edges[0])} {bottom}"
    for (left, right), height in zip(pairwise(edges), heights, strict=True):
        path += f"L{across(left)} {up(height)}L{across(right)} {up(height)}"
    return Markup('<path class="{}-area" d="{}L{} {}Z"/>').format(
        style, path, across(edges[-1]), bottom
    )


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


def _dot_with_interval(
    across: Scale, y: float, item: Estimate, style: str, form: Callable[[float], str]
) -> Markup:
    return Markup(
        '<g class="{style}"><title>{value} (95% interval {low} to {high})</title>'
        '<line class="interval" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>'
        '<circle class="dot" cx="{x}" cy="{y}" r="5"/></g>'
    ).format(
        style=style,
        value=form(item.estimate),
        low=form(item.low),
        high=form(item.high),
        x1=across(item.low),
        x2=across(item.high),
        x=across(item.estimate),
        y=y,
    )


def _metric_interval(item: Estimate) -> str:
    return (
        f"{formats.metric(item.estimate)} (95% interval {formats.metric(item.low)} "
        f"to {formats.metric(item.high)})"
    )


def _where(edges: Sequence[float], group: Sequence[int]) -> str:
    """Return in words between which values the middle half of a group lies."""
    total = sum(group)
    if total == 0:
        return "none"
    below, low, high = 0, edges[0], edges[-1]
    for left, right, rows in zip(edges, edges[1:], group, strict=False):
        if below <= 0.25 * total <= below + rows:
            low = left
        if below <= 0.75 * total <= below + rows:
            high = right
        below += rows
    return f"the middle half between {formats.number(low)} and {formats.number(high)}"


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"

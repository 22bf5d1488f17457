"""Estimates as dots, each on the line of its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from dataaudit.report import formats
from dataaudit.report.charts.drawing import NAME_WIDTH, NARROW, WIDTH, Scale, axis, shortened, svg
from dataaudit.report.data import Estimate


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
    parts = [axis(across, 0, highest, bottom, formats.set_percent, wanted=4)]
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
                NAME_WIDTH - 10, y + 4, shortened(label, 14)
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
    return svg(name, bottom + 32, title, description, parts)


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
    parts = [axis(across, low, high, bottom, formats.metric_tick, wanted=4)]
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
    return svg(name, bottom + 32, title, description, parts, NARROW)


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

"""Bars: counts side by side, and shares in the cells of a table."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from dataaudit.report.charts.drawing import NARROW, Scale, shortened, svg


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
                label=shortened(label, 40),
                style=style,
                bar_y=y + 7,
                length=length,
                text_x=length + 8,
                text_y=y + 16,
                word=word,
            )
        )
    description = ". ".join(f"{label}: {word}" for label, word in zip(labels, words, strict=True))
    return svg(name, line_height * len(labels) + 4, title, description, parts, NARROW)


def bar(share: float, style: str) -> Markup:
    """Draw a share as a small bar for a table cell, which gives the number in words."""
    return Markup(
        '<svg class="bar {style}" viewBox="0 0 100 6" aria-hidden="true" focusable="false" '
        'preserveAspectRatio="none"><rect class="bar-back" width="100" height="6"/>'
        '<rect class="bar-fill" width="{width}" height="6"/></svg>'
    ).format(style=style, width=round(100 * min(max(share, 0.0), 1.0), 1))

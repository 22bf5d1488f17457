"""How values are distributed among rows, one part of the rows set off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from markupsafe import Markup

from dataaudit.report import formats
from dataaudit.report.charts.drawing import NARROW, Scale, axis, legend, svg


def histogram(
    name: str,
    title: str,
    edges: Sequence[float],
    counts: Sequence[int],
    from_bin: int,
    words: tuple[str, str],
) -> Markup:
    """Draw how many rows have which value; bins from `from_bin` on are set off.

    Parameters
    ----------
    name : str
        Unique on the page; ids are made from it.
    title : str
    edges : `[bins + 1]`
    counts : `[bins]`
        Drawn to their roots, so that a long tail of few rows is seen.
    from_bin : int
    words : (str, str)
        What the rows before and from that bin on are called.
    """
    top, bottom = 40, 190
    across = Scale(edges[0], edges[-1], 10, NARROW - 10)
    up = Scale(0, max([*counts, 1]) ** 0.5, bottom, top)
    totals = sum(counts[:from_bin]), sum(counts[from_bin:])
    parts = [axis(across, edges[0], edges[-1], bottom, formats.set_number, wanted=4)]
    for place, style in enumerate(("kept", "flagged")):
        text = f"{formats.count(totals[place])} {words[place]}"
        parts.append(legend(10 + 150 * place, style, text))
    for place, count in enumerate(counts):
        left, right, height = across(edges[place]), across(edges[place + 1]), up(count**0.5)
        parts.append(
            Markup(
                '<rect class="{}-area" x="{}" y="{}" width="{}" height="{}">'
                "<title>{} from {} to {}</title></rect>"
            ).format(
                "flagged" if place >= from_bin else "kept",
                left,
                height,
                round(right - left, 1),
                round(bottom - height, 1),
                formats.rows(count),
                formats.number(edges[place]),
                formats.number(edges[place + 1]),
            )
        )
    description = (
        f"{formats.rows(totals[0])} {words[0]}, {formats.rows(totals[1])} {words[1]}, from "
        f"{formats.number(edges[0])} to {formats.number(edges[-1])}."
    )
    return svg(name, bottom + 32, title, description, parts, NARROW)


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
        axis(across, edges[0], edges[-1], bottom, form, wanted=4),
        legend(10, "kept", f"{formats.count(sum(kept))} kept"),
        legend(130, "flagged", f"{formats.count(sum(flagged))} flagged"),
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
    return svg(name, height, title, description, parts, NARROW)


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

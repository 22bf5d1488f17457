"""A histogram as inline SVG, one part of it set off."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from dataaudit.report import charts, formats


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
    across = charts.Scale(edges[0], edges[-1], 10, charts.NARROW - 10)
    up = charts.Scale(0, max([*counts, 1]) ** 0.5, bottom, top)
    totals = sum(counts[:from_bin]), sum(counts[from_bin:])
    parts = [charts._axis(across, edges[0], edges[-1], bottom, formats.set_number, wanted=4)]
    for place, style in enumerate(("kept", "flagged")):
        text = f"{formats.count(totals[place])} {words[place]}"
        parts.append(charts._legend(10 + 150 * place, style, text))
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
    return charts._svg(name, bottom + 32, title, description, parts, charts.NARROW)

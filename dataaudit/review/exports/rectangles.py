"""Boxes as Label Studio has them: rectangles in percent of the picture's sides."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from typing import Any

from dataaudit.labels.boxes import parts_of, text_of

TYPE = "rectanglelabels"
SIZE = "picture_size"
"""Of a task's data: width and height that percents are turned into pixels by."""


def add_rectangles(
    view: ElementTree.Element, asked: Mapping[str, str], classes: Sequence[str]
) -> None:
    """Add to a labelling configuration that rectangles are asked for."""
    labels = ElementTree.SubElement(view, "RectangleLabels", dict(asked))
    for value in classes:
        ElementTree.SubElement(labels, "Label", {"value": value})


def rectangles(text: str, size: tuple[int, int], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a result for each box of a label.

    Parameters
    ----------
    text : str
        The label as tables show it.
    size : (width, height)
        Of the picture, pixels.
    names : mapping
        `from_name` and `to_name`.
    """
    width, height = size
    found = []
    for number, part in enumerate(parts_of(text)):
        name, corners = part.rsplit(" ", 1)
        left, top, right, bottom = map(float, corners.split(","))
        value = {
            "x": 100 * left / width,
            "y": 100 * top / height,
            "width": 100 * (right - left) / width,
            "height": 100 * (bottom - top) / height,
            "rotation": 0,
            TYPE: [name],
        }
        original = {"original_width": width, "original_height": height, "image_rotation": 0}
        found.append({"id": f"box-{number}", **names, "type": TYPE, "value": value, **original})
    return found


def label_of(results: Sequence[Any], size: Any) -> str:
    """Return the label that the results of an annotation draw, as people type it.

    Raises
    ------
    ValueError
        A rectangle is damaged, or turned, or has more than one label; the message says which.
    """
    try:
        width, height = (float(side) for side in size)
        parts = [_box(result, width, height) for result in results if result.get("type") == TYPE]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"is no rectangle as Label Studio writes it ({error!r})") from None
    return text_of(parts)


def _box(result: Mapping[str, Any], width: float, height: float) -> str:
    value = result["value"]
    names = value[TYPE]
    if not isinstance(names, list) or len(names) != 1 or value.get("rotation", 0) != 0:
        raise ValueError(f"a rectangle is turned, or has not one label: {names!r}")
    left, top = value["x"] * width / 100, value["y"] * height / 100
    right = left + value["width"] * width / 100
    bottom = top + value["height"] * height / 100
    corners = ",".join(f"{round(side, 2):.10g}" for side in (left, top, right, bottom))
    return f"{names[0]} {corners}"

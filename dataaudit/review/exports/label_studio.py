"""Rows for review as Label Studio tasks, and the labelling configuration that goes with them.

Label Studio exports predictions as numbers only, so whatever the way back needs (`row_id`, the
given label, the scores) stands in each task's `data`.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path

from dataaudit.datasets.answer_pairs import LEFT, RIGHT
from dataaudit.datasets.samples import Modality
from dataaudit.errors import ConfigError
from dataaudit.labels.by_task import KINDS
from dataaudit.labels.preferences import SIDES
from dataaudit.labels.sets import NO_LABEL, SEPARATOR
from dataaudit.report import formats
from dataaudit.report.data import exact_id
from dataaudit.review.exports.brush import brushed
from dataaudit.review.exports.rectangles import SIZE, add_rectangles, rectangles
from dataaudit.review.exports.rows import ExportRow, as_text
from dataaudit.review.exports.spool import write_by_rank, write_file

LABEL = "label"
LABEL_SET = "labels"
COMMENT = "comment"
SAMPLE = "sample"
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def write_label_studio(
    target: Path,
    rows: Iterable[ExportRow],
    *,
    model_version: str,
    modality: Modality,
    classes: Sequence[str],
    columns: Sequence[str],
    task: str = "classification",
) -> tuple[int, Path]:
    """Write tasks with predictions, and beside them the labelling configuration.

    Parameters
    ----------
    target : Path
        The JSON file of tasks; the configuration has the same name and ends in `.xml`.
    rows : iterable of ExportRow
    model_version : str
        What Label Studio shows as the source of the predictions.
    modality : str
    classes : sequence of str
    columns : sequence of str
        Columns that a reviewer sees beside (or instead of) text or image.
    task : str
        It says in which form a label is asked for: as a choice, choices, a number or text.

    Returns
    -------
    int, Path
        How many tasks were written; where the configuration is.
    """
    configuration = target.with_suffix(".xml")
    text = labelling_configuration(modality, classes, columns, task)
    count = write_by_rank(
        target,
        ((row.rank, _task(row, model_version, task)) for row in rows),
        before=b"[\n",
        between=b",\n",
        after=b"\n]\n",
    )
    write_file(configuration, lambda path: path.write_text(text, encoding="utf-8"))
    return count, configuration


def labelling_configuration(
    modality: Modality,
    classes: Sequence[str],
    columns: Sequence[str],
    task: str = "classification",
) -> str:
    """Return the XML that Label Studio wants as "Labeling Interface".

    Raises
    ------
    ConfigError
        A class has a character that XML cannot hold, escaped or not.
    """
    if unfit := next(filter(_NOT_IN_XML.search, classes), None):
        raise ConfigError(
            f"--to: class {unfit!r} has a control character, which no configuration of Label "
            "Studio can hold; export to csv or jsonl"
        )
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", {"value": "$review"})
    form = KINDS[task].form
    if form == "pair":
        _both_answers(view)
    elif modality == "image":
        shown = {"name": SAMPLE, "value": "$image", "zoom": "true", "zoomControl": "true"}
        ElementTree.SubElement(view, "Image", shown)
    elif modality == "text":
        ElementTree.SubElement(view, "Text", {"name": SAMPLE, "value": "$text"})
    if modality == "table" or columns:
        name = SAMPLE if modality == "table" else "fields"
        ElementTree.SubElement(view, "Table", {"name": name, "value": "$fields"})
    asked = {"toName": SAMPLE, "required": "true"}
    if form == "pair":
        shown_side = ",".join(SIDES)
        ElementTree.SubElement(view, "Pairwise", {"name": LABEL, "toName": shown_side})
        asked["toName"] = SIDES[0]
    elif form == "brush":
        # Not required: where nothing is painted, the mask stays as it is.
        brush = ElementTree.SubElement(view, "BrushLabels", {"name": LABEL, "toName": SAMPLE})
        for value in classes:
            ElementTree.SubElement(brush, "Label", {"value": value})
    elif form == "number":
        ElementTree.SubElement(view, "Number", {"name": LABEL, **asked})
    elif form == "text" or (form == "rectangles" and modality != "image"):
        editable = {"editable": "true", "maxSubmissions": "1", "rows": "2"}
        ElementTree.SubElement(view, "TextArea", {"name": LABEL, **asked, **editable})
    elif form == "rectangles" and modality == "image":
        # Not required: a picture may be without any box.
        add_rectangles(view, {"name": LABEL, "toName": SAMPLE}, classes)
    else:
        several = form == "several choices"
        name, kind = (LABEL_SET, "multiple") if several else (LABEL, "single")
        choice = {"name": name, "toName": SAMPLE, "choice": kind, "required": "true"}
        choices = ElementTree.SubElement(view, "Choices", {**choice, "showInline": "true"})
        for value in [*classes, NO_LABEL] if several else classes:
            ElementTree.SubElement(choices, "Choice", {"value": value})
    comment = {"name": COMMENT, "toName": asked["toName"], "rows": "2"}
    ElementTree.SubElement(view, "TextArea", {**comment, "placeholder": "Comment (optional)"})
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _both_answers(view: ElementTree.Element) -> None:
    """Add the answers, side by side, as Label Studio's template for comparisons has them."""
    beside = ElementTree.SubElement(view, "View", {"style": "display: flex; gap: 2em"})
    for side in SIDES:
        ElementTree.SubElement(beside, "Text", {"name": side, "value": f"${side}"})


def _task(row: ExportRow, model_version: str, task: str) -> bytes:
    data: dict[str, object] = {
        "row_id": exact_id(row.row_id),
        "given_label": row.given_label,
        "suggested_label": row.suggested_label,
        "probability": row.probability,
        "score": row.score,
        "rank": row.rank,
        "flagged": row.flagged,
        "train_sha256": row.train_sha256,
        "review": f"Row {row.row_id}: given {row.given_label}, suggested "
        f"{formats.label(row.suggested_label)}, "
        f"wrong with a probability of {formats.percent(row.probability)}",
        "fields": {name: as_text(value) for name, value in row.fields.items()},
    }
    if KINDS[task].form == "pair":
        data |= dict(zip(SIDES, (row.fields[LEFT], row.fields[RIGHT]), strict=True))
    elif row.text is not None:
        data["text"] = row.text
    if row.image is not None:
        data["image"] = row.image
    if row.size is not None:
        data[SIZE] = row.size
    prediction = {
        "model_version": model_version,
        "score": row.probability,
        "result": _suggestions(row, task),
    }
    content = {"data": data, "predictions": [prediction]}
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8")


def _suggestions(row: ExportRow, task: str) -> list[dict[str, object]]:
    """Return what Label Studio shows beforehand: the suggested label, or regions that change."""
    if row.size is not None:
        names = {"from_name": LABEL, "to_name": SAMPLE}
        return rectangles(row.suggested_label, row.size, names)
    if KINDS[task].form == "brush":
        return brushed(row.given_label, row.suggested_label, row.image, LABEL, SAMPLE)
    return [_suggestion(row, task)]


def _suggestion(row: ExportRow, task: str) -> dict[str, object]:
    """Return the suggested label as Label Studio shows it, for the reviewer to accept or change."""
    form = KINDS[task].form
    if form == "pair":
        chosen = {"selected": row.suggested_label}
        return {"from_name": LABEL, "to_name": SIDES[0], "type": "pairwise", "value": chosen}
    if form == "number":
        value = {"number": float(row.suggested_label)}
        return {"from_name": LABEL, "to_name": SAMPLE, "type": "number", "value": value}
    if form in ("text", "rectangles"):
        text = {"text": [row.suggested_label]}
        return {"from_name": LABEL, "to_name": SAMPLE, "type": "textarea", "value": text}
    if form == "several choices":
        choices = row.suggested_label.split(SEPARATOR)
        name = LABEL_SET
    else:
        choices, name = [row.suggested_label], LABEL
    value_of_choices = {"choices": choices}
    return {"from_name": name, "to_name": SAMPLE, "type": "choices", "value": value_of_choices}

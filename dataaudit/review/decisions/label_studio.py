"""Decisions from Label Studio's own export ("JSON"), joined on the `row_id` in each task's data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dataaudit.datasets.files import existing, readable
from dataaudit.datasets.json_values import each_key_once
from dataaudit.errors import DataError
from dataaudit.labels.sets import NO_LABEL, SEPARATOR
from dataaudit.review.decisions.said import Said
from dataaudit.review.exports.brush import painted, size_of_mask
from dataaudit.review.exports.label_studio import COMMENT, LABEL, LABEL_SET
from dataaudit.review.exports.leaks import DECISION
from dataaudit.review.exports.rectangles import SIZE, label_of


def read_label_studio(path: Path) -> list[Said]:
    """Return what the annotations say; tasks without one are left out, skipped ones are unsure.

    Raises
    ------
    DataError
        The file is missing or no such export, or an annotation chooses several labels.
    """
    with readable(str(existing(path)), "JSON exported by Label Studio"):
        tasks = json.loads(path.read_bytes(), object_pairs_hook=each_key_once)
    if not isinstance(tasks, list):
        raise DataError(f"{path}: expected a list of tasks, found a {type(tasks).__name__}")
    return [said for number, task in enumerate(tasks) for said in _task(path, number, task)]


def _task(path: Path, number: int, task: Any) -> Iterator[Said]:
    where = f"{path}: task {number}"
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise DataError(
            f"{where}: has no data; export as JSON from Label Studio (not JSON-MIN, not CSV)"
        )
    data = task["data"]
    if "row_id" not in data:
        raise DataError(
            f"{where}: data has no row_id; expected tasks made by dataaudit export "
            "--to label-studio"
        )
    annotations = task.get("annotations", [])
    if not isinstance(annotations, list) or not all(isinstance(a, dict) for a in annotations):
        raise DataError(f"{where}: annotations are no list of objects")
    for annotation in annotations:
        new_label, comment = _result(where, annotation)
        if SIZE in data:
            new_label = _rectangles(where, annotation, data[SIZE])
        given = data.get("given_label")
        if isinstance(given, str) and size_of_mask(given) and data.get("what") != "leak":
            new_label = new_label or _painted(where, given, annotation)
        skipped = bool(annotation.get("was_cancelled"))
        is_leak = data.get("what") == "leak"
        if new_label or skipped:
            yield Said(
                where=where,
                what="leak" if is_leak else "label",
                row_id=str(data["row_id"]),
                decision="unsure" if skipped else new_label if is_leak else "",
                new_label="" if skipped or is_leak else new_label,
                reviewer=_reviewer(annotation),
                comment=comment,
                date=str(annotation.get("created_at") or ""),
                given_label=_optional(data, "given_label"),
                train_sha256=_optional(data, "train_sha256"),
                suspects_sha256=_optional(data, "suspects_sha256"),
                is_inert=False,
            )


def _result(where: str, annotation: Mapping[str, Any]) -> tuple[str, str]:
    """Return the chosen label and the comment, each empty where there is none."""
    label, comment = "", ""
    results = annotation.get("result") or []
    if not isinstance(results, list):
        raise DataError(f"{where}: the result of an annotation is no list")
    for result in results:
        value = result.get("value", {}) if isinstance(result, dict) else {}
        if not isinstance(value, dict):
            raise DataError(f"{where}: the value of a result is no object")
        if result.get("from_name") in (LABEL, DECISION) and result.get("type") == "choices":
            choices = value.get("choices", [])
            if not isinstance(choices, list) or len(choices) > 1:
                raise DataError(f"{where}: expected one label, found {choices!r}")
            label = str(choices[0]) if choices else ""
        elif result.get("from_name") == LABEL_SET and result.get("type") == "choices":
            label = _label_set(where, value.get("choices", []))
        elif result.get("from_name") == LABEL and result.get("type") == "number":
            label = str(value.get("number", ""))
        elif result.get("from_name") == LABEL and result.get("type") == "pairwise":
            label = str(value.get("selected", ""))
        elif result.get("from_name") == LABEL and result.get("type") == "textarea":
            label = _only_text(where, value.get("text", ""))
        elif result.get("from_name") == COMMENT:
            text = value.get("text", "")
            comment = "\n".join(map(str, text)) if isinstance(text, list) else str(text)
    return label, comment


def _rectangles(where: str, annotation: Mapping[str, Any], size: Any) -> str:
    """Return the boxes that were drawn; none at all is an answer, too."""
    try:
        return label_of(annotation.get("result") or [], size)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def _painted(where: str, given: str, annotation: Mapping[str, Any]) -> str:
    try:
        return painted(given, annotation.get("result") or [])
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def _only_text(where: str, text: Any) -> str:
    """Return tags that were typed: one text, alone or in a list."""
    texts = text if isinstance(text, list) else [text]
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise DataError(f"{where}: expected one text of tags, found {text!r}")
    return texts[0]


def _label_set(where: str, choices: Any) -> str:
    """Return several choices as text; that there is no label excludes all others."""
    if not isinstance(choices, list) or (NO_LABEL in choices and len(choices) > 1):
        raise DataError(f"{where}: expected labels, or {NO_LABEL} alone; found {choices!r}")
    return SEPARATOR.join(map(str, choices))


def _reviewer(annotation: Mapping[str, Any]) -> str:
    """Return who annotated: an address where the export has one, else Label Studio's number."""
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    if by is None:
        return ""
    return by if isinstance(by, str) else f"Label Studio user {by}"


def _optional(data: Mapping[str, Any], key: str) -> str | None:
    return str(data[key]) if key in data else None

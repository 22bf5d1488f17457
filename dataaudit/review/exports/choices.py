"""What an export can be asked for; apart from the rest, so that `--help` need not wait for it."""

from __future__ import annotations

from enum import StrEnum


class ExportFormat(StrEnum):
    """What an audit can be exported to."""

    csv = "csv"
    jsonl = "jsonl"
    label_studio = "label-studio"
    croissant = "croissant"
    sarif = "sarif"
    training_summary = "training-summary"


OF_ROWS = frozenset({ExportFormat.csv, ExportFormat.jsonl, ExportFormat.label_studio})
"""The formats that hold rows; the others describe the whole."""


class Selection(StrEnum):
    """Which rows are exported."""

    flagged = "flagged"
    all = "all"


class What(StrEnum):
    """What is exported for review."""

    label = "label"
    leak = "leak"

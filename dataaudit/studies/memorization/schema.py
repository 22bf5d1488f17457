"""The JSON schema of `memorization.json`, published as `memorization.schema.json`."""

from __future__ import annotations

from pathlib import Path

from dataaudit.report.schema import published
from dataaudit.studies.memorization.data import MemorizationReport

SCHEMA_PATH = Path(__file__).with_name("memorization.schema.json")


def schema_text() -> str:
    """Return the JSON schema of `memorization.json` as the text that is published."""
    return published(MemorizationReport)


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")

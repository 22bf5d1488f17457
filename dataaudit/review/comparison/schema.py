"""The JSON schema of `compare.json`, published beside this file as `compare.schema.json`."""

from __future__ import annotations

from pathlib import Path

from dataaudit.report.schema import published
from dataaudit.review.comparison.data import Comparison

SCHEMA_PATH = Path(__file__).with_name("compare.schema.json")


def schema_text() -> str:
    """Return the JSON schema of `compare.json` as the text that is published."""
    return published(Comparison)


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")

"""The JSON schema of `verify.json`, published beside this file as `verify.schema.json`."""

from __future__ import annotations

from pathlib import Path

from dataaudit.report.schema import published
from dataaudit.studies.verification.data import Verification

SCHEMA_PATH = Path(__file__).with_name("verify.schema.json")


def schema_text() -> str:
    """Return the JSON schema of `verify.json` as the text that is published."""
    return published(Verification)


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")

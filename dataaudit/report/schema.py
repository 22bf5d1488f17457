"""The JSON schema of `audit.json`, published beside this file as `audit.schema.json`."""

from __future__ import annotations

import json
from pathlib import Path

from dataaudit.report.data import AuditReport, Section

SCHEMA_PATH = Path(__file__).with_name("audit.schema.json")


def schema_text() -> str:
    """Return the JSON schema of `audit.json` as the text that is published."""
    return published(AuditReport)


def published(model: type[Section]) -> str:
    """Return the JSON schema of files that hold one `model`, as the text that is published."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")

"""The JSON schema of `verify.json`, published beside this file as `verify.schema.json`."""

from __future__ import annotations

import json
from pathlib import Path

from dataaudit.verification.data import Verification

SCHEMA_PATH = Path(__file__).with_name("verify.schema.json")


def schema_text() -> str:
    """Return the JSON schema of `verify.json` as the text that is published."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Verification.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")

"""`audit.json` round-trips, and its published schema is the current one."""

import json

import jsonschema
import pytest
from pydantic import ValidationError
from report_examples import example_report, hostile_report

from dataaudit.report.data import AuditReport
from dataaudit.report.render import render
from dataaudit.report.schema import SCHEMA_PATH, schema_text


def test_the_published_schema_is_current():
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), (
        "run python -m dataaudit.report.schema"
    )


def test_a_report_read_back_from_json_renders_the_same_page():
    report = example_report("table", rows=120, flagged=9, suspects=20, leaked=4)
    again = AuditReport.model_validate_json(report.model_dump_json())
    assert again == report
    assert render(again) == render(report)


@pytest.mark.parametrize(
    "report",
    [
        example_report("image", rows=60, flagged=5),
        example_report("table", rows=0, suspects=0),
        hostile_report("text"),
    ],
    ids=["whole", "no parts", "hostile"],
)
def test_every_report_holds_to_the_schema(report):
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(report.model_dump_json()), schema)


def test_an_audit_of_another_schema_version_is_refused():
    text = example_report("text", rows=0, suspects=0).model_dump_json()
    later = text.replace('"schema_version":"1.0"', '"schema_version":"2.0"')
    with pytest.raises(ValidationError, match=r"schema_version\s+Input should be '1\.0'"):
        AuditReport.model_validate_json(later)


@pytest.mark.parametrize("day", ["xxxxxxxxxx", "2026-13-01", "", "29 November 2026"])
def test_a_date_that_is_none_is_no_report(day: str) -> None:
    content = example_report("text").model_dump()
    content["identity"]["date"] = day
    with pytest.raises(ValidationError, match="date"):
        AuditReport.model_validate(content)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("counts", "train"), -1),
        (("counts", "train"), 2**63),
        (("composition", "counts", 0, "share"), 1.5),
        (("leakage", "false_discovery_rate"), -0.1),
        (("labels", "histograms", 0, "edges"), [0.0]),
        (("labels", "histograms", 0, "kept"), [-1]),
    ],
)
def test_what_the_code_relies_on_stands_in_the_schema(
    place: tuple[str | int, ...], value: object
) -> None:
    content = json.loads(example_report("text").model_dump_json())
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)
    with pytest.raises(ValidationError):
        AuditReport.model_validate(content)


def test_lists_that_belong_together_are_of_one_length() -> None:
    content = example_report("text").model_dump()
    content["labels"]["histograms"][0]["kept"].append(1)
    with pytest.raises(ValidationError, match="expected one number for each bin"):
        AuditReport.model_validate(content)
    content = example_report("text").model_dump()
    content["labels"]["noise_table"]["rows"].pop()
    with pytest.raises(ValidationError, match="expected a line for each of `given`"):
        AuditReport.model_validate(content)

"""`audit.json` round-trips, and its published schema is the current one."""

from report_examples import example_report

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

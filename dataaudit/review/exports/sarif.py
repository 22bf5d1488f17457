"""What an audit found as SARIF 2.1.0, which code-scanning pages show beside a change.

OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0". One result for each gate
that is not met, and for each thing that was found; the rows stand in the tables of the directory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dataaudit.report import formats
from dataaudit.report.data import AuditReport
from dataaudit.report.samples import clean_text
from dataaudit.review.exports.spool import write_file

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def write_sarif(target: Path, report: AuditReport) -> int:
    """Write the results, and return how many there are."""
    content = sarif(report, Path.cwd())
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_file(target, lambda path: path.write_text(text, encoding="utf-8"))
    return len(content["runs"][0]["results"])


def sarif(report: AuditReport, folder: Path) -> dict[str, Any]:
    """Return the log of one run.

    Parameters
    ----------
    report : AuditReport
    folder : Path
        The root of the repository: addresses of data are relative to it where it holds them.
    """
    sources: dict[str, str] = {
        split.role: _address(split.source, folder) for split in report.identity.splits
    }
    found = list(_results(report))
    rules = {rule: title for rule, title, *_ in found}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "dataaudit",
                        "version": report.method.versions.get("dataaudit", "0"),
                        "rules": [
                            {"id": rule, "shortDescription": {"text": clean_text(title)}}
                            for rule, title in rules.items()
                        ],
                    }
                },
                "automationDetails": {"id": f"dataaudit/{clean_text(report.identity.name)}"},
                "results": [
                    {
                        "ruleId": rule,
                        "level": level,
                        "message": {"text": clean_text(f"{title}. {text}".strip())},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": sources[role]},
                                    "region": {"startLine": 1},
                                }
                            }
                        ],
                        # The same finding in the same data is not reported as new.
                        "partialFingerprints": {"dataaudit/v1": _hash(rule, sources[role])},
                    }
                    for rule, title, text, level, role in found
                ],
            }
        ],
    }


def _results(report: AuditReport) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield rule, title, text, level, and the split that each result is about."""
    for gate in report.verdict.gates:
        if not gate.passed:
            text = f"found {_number(gate.found)}, limit {_number(gate.limit)}: {gate.outcome}"
            role = "suspects" if gate.name in ("contaminated", "leaks") else "train"
            yield f"gate/{gate.name}", f"Limit on {gate.name}", text, "error", role
    if report.labels is not None and report.labels.rows_flagged:
        text = f"{'; '.join(report.labels.reasons)}; mislabels.parquet has them"
        title = f"{formats.rows(report.labels.rows_flagged)} with a doubtful label"
        yield "labels", title, text, "warning", "train"
    if report.leakage is not None and report.leakage.suspects_flagged:
        text = f"{'; '.join(report.leakage.reasons)}; contamination.parquet has them"
        title = f"{formats.rows(report.leakage.suspects_flagged, 'suspect')} in the training set"
        yield "leaks", title, text, "error", "suspects"
    for check in report.checks:
        if check.outcome == "found":
            level = "error" if check.serious else "warning"
            yield f"check/{check.name}", check.title, check.text, level, "train"


def _hash(rule: str, source: str) -> str:
    return sha256(f"{rule} {source}".encode()).hexdigest()


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"


def _address(source: str, folder: Path) -> str:
    path = Path(source)
    inside = path.is_absolute() and path.is_relative_to(folder)
    # A blank, or a letter beyond ASCII, is none of an address.
    return quote((path.relative_to(folder) if inside else Path(path.name)).as_posix())

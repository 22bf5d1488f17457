"""Croissant metadata: its structure always, the reference validator where it is installed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import CommandLine
from report_examples import HOSTILE, example_report
from review_examples import FORMATS, Audited, audited

from dataaudit.about import About
from dataaudit.report.data import Estimate
from dataaudit.review.exports.croissant import _has_synthetic, _label_quality

ABOUT = {
    "version": "3.0.0", "licence": "CC BY 4.0", "purpose": "telling animals apart",
    "provenance": "a park", "collection": "by hand", "labelling_protocol": "two looked at each",
    "annotators": "two keepers", "personal_data": "none", "known_biases": "few owls",
    "known_limits": "one season", "residual_risk": "look-alikes",
    "lineage": "last year's pictures", "collection_dates": "2026", "geography": "Spain",
    "synthetic_share": "none",
}  # fmt: skip


def exported(command_line: CommandLine, audit: Audited) -> Path:
    out = audit.directory.parent / "croissant.json"
    outcome = command_line("export", audit.directory, "--to", "croissant", "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"Croissant metadata: {out}\n"
    return out


def described(audit: Audited, about: dict[str, str]) -> None:
    report = audit.report
    identity = report.identity.model_copy(update={"about": About.model_validate(about)})
    report = report.model_copy(update={"identity": identity})
    (audit.directory / "audit.json").write_text(report.model_dump_json(), encoding="utf-8")


def references(content: Any) -> set[str]:
    """Return the ids that `source` and `key` refer to."""
    if isinstance(content, list):
        return set().union(*map(references, content))
    if not isinstance(content, dict):
        return set()
    own = {content["@id"]} if set(content) == {"@id"} else set()
    return own.union(*map(references, content.values()))


@pytest.mark.parametrize("name", FORMATS)
def test_the_structure_is_that_of_the_specification(
    tmp_path: Path, command_line: CommandLine, name: str
) -> None:
    audit = audited(tmp_path, FORMATS[name])
    content = json.loads(exported(command_line, audit).read_text(encoding="utf-8"))
    assert content["@type"] == "sc:Dataset"
    assert content["conformsTo"] == [
        "http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0",
    ]  # fmt: skip
    [data] = content["distribution"]
    if audit.data.is_file():
        assert data["@type"] == "cr:FileObject"
        assert data["contentUrl"] == audit.data.name
        assert data["sha256"] == hashlib.sha256(audit.data.read_bytes()).hexdigest()
    else:
        assert data["@type"] == "cr:FileSet"
        assert data["includes"][0].startswith("train/")
    [rows] = content["recordSet"]
    ids = {data["@id"], rows["@id"], *(field["@id"] for field in rows["field"])}
    assert references(content) <= ids
    assert len(ids) == 2 + len(rows["field"])
    for field in rows["field"]:
        assert field["dataType"] in (
            "sc:Text", "sc:Integer", "sc:Float", "sc:Boolean", "sc:ImageObject",
        )  # fmt: skip


def test_what_people_and_the_audit_say_stands_in_the_rai_fields(
    tmp_path: Path, command_line: CommandLine
) -> None:
    audit = audited(tmp_path)
    described(audit, ABOUT)
    content = json.loads(exported(command_line, audit).read_text(encoding="utf-8"))
    said = {key.removeprefix("rai:"): value for key, value in content.items() if "rai:" in key}
    analysis, limits = said.pop("dataAnnotationAnalysis"), said.pop("dataLimitations")
    assert said == {
        "dataCollection": "by hand",
        "dataCollectionRawData": "a park",
        "dataCollectionTimeframe": "2026",
        "hasSyntheticData": False,
        "dataCollectionMissingData": "price: 12 rows",
        "dataAnnotationProtocol": "two looked at each",
        "annotatorDemographics": "two keepers",
        "dataUseCases": "telling animals apart",
        "dataBiases": "few owls",
        "personalSensitiveInformation": "none",
    }
    assert "of the labels are estimated to be wrong (95% interval " in analysis
    assert limits.startswith("one season look-alikes ")
    assert (content["version"], content["license"]) == ("3.0.0", "CC BY 4.0")
    assert content["spatialCoverage"] == "Spain"
    assert content["prov:wasDerivedFrom"]["description"] == "last year's pictures"


def test_what_nobody_supplied_is_left_out(tmp_path: Path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    described(audit, {})
    content = json.loads(exported(command_line, audit).read_text(encoding="utf-8"))
    assert "not provided" not in json.dumps(content)
    assert "license" not in content
    assert "rai:dataBiases" not in content
    assert "rai:hasSyntheticData" not in content


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("about", [ABOUT, dict.fromkeys(ABOUT, HOSTILE)], ids=["plain", "hostile"])
def test_the_reference_validator_accepts_it(
    tmp_path: Path, command_line: CommandLine, name: str, about: dict[str, str]
) -> None:
    validator = pytest.importorskip("mlcroissant")
    audit = audited(tmp_path, FORMATS[name])
    described(audit, about)
    # Raises where the metadata breaks the specification.
    data_set = validator.Dataset(str(exported(command_line, audit)))
    assert data_set.metadata.to_json()["rai:dataBiases"] == about["known_biases"]


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ("none", False), ("0 %", False), ("0 of 1,000 rows", False), ("0.00", False),
        ("0,5 %", True), ("about 12 %", True), ("yes", True),
        ("unknown", None), ("not measured", None), ("n/a", None), ("no synthetic rows known", None),
        ("not provided", None),
    ],
)  # fmt: skip
def test_synthetic_data_are_stated_only_where_somebody_said_so(
    share: str, said: bool | None
) -> None:
    assert _has_synthetic(share) is said


@pytest.mark.parametrize(
    ("low", "said"),
    [(0.0, "cannot be told."), (0.06, "cannot be told; at least 6.0% are.")],
)
def test_no_estimate_is_published_where_any_share_may_be_wrong(low: float, said: str) -> None:
    report = example_report("text", 200, 24, 0, 0)
    assert report.labels is not None
    rate = Estimate(estimate=0.1, low=low, high=1.0)
    labels = report.labels.model_copy(update={"noise_rate": rate})
    lines = _label_quality(report.model_copy(update={"labels": labels}))
    assert lines[0] == f"How many of the labels are wrong {said}"

"""`dataaudit export`: rows for review as CSV, JSONL and Label Studio tasks."""

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest
from conftest import CommandLine
from hypothesis import given
from hypothesis import strategies as st
from review_examples import (
    CLASSES,
    FORMATS,
    TEXTS,
    audited,
    frame,
    with_suspects,
    write_images,
)

from dataaudit.errors import ConfigError
from dataaudit.inert import as_it_was, printable, without_formulas
from dataaudit.labels.targets import TARGETS
from dataaudit.review.exports.label_studio import labelling_configuration


def test_csv_holds_the_flagged_rows_and_runs_nothing(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path, flagged=(1, 2, 5))
    out = tmp_path / "to-review.csv"
    outcome = command_line("export", audit.directory, "--to", "csv", "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"3 rows: {out}\n"
    with out.open(encoding="utf-8", newline="") as file:
        header, *lines = list(csv.reader(file))
    assert header == [
        "row_id", "given_label", "suggested_label", "probability", "score", "rank", "flagged",
        "train_sha256", "decision", "new_label", "reviewer", "comment", "data.text", "data.price",
    ]  # fmt: skip
    assert [line[0] for line in lines] == ["'=b", "c", "f"]
    assert [line[5] for line in lines] == ["1", "2", "3"]
    assert lines[0][12] == "'=HYPERLINK('http://example.com')"
    assert lines[1][12] == TEXTS[2]
    assert lines[2][12] == "''quoted' already, and not once"
    assert [as_it_was(line[12]) for line in lines] == [TEXTS[1], TEXTS[2], TEXTS[5]]
    assert lines[0][8:12] == ["", "", "", ""]
    assert [line[13] for line in lines] == ["0.1", "3.0", "2.25"]


def test_jsonl_holds_all_rows_when_asked(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    out = tmp_path / "all.jsonl"
    assert command_line(
        "export", audit.directory, "--to", "jsonl", "--only", "all", "--out", out
    ).code == 0  # fmt: skip
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0]["row_id"] == "=b"
    assert rows[0]["text"] == TEXTS[1]
    by_id = {row["row_id"]: row for row in rows}
    assert by_id["d"]["fields"] == {"price": None}
    assert by_id["a"]["flagged"] is False
    assert len(rows[0]["train_sha256"]) == 12


def test_label_studio_tasks_match_their_configuration(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    outcome = command_line("export", audit.directory, "--to", "label-studio")
    tasks_path, configuration_path = tmp_path / "audit-flagged.json", tmp_path / "audit-flagged.xml"
    assert outcome.out.splitlines() == [
        f"2 rows: {tasks_path}", f"labelling configuration: {configuration_path}",
    ]  # fmt: skip
    tasks = json.loads(tasks_path.read_text(encoding="utf-8"))
    assert [task["data"]["row_id"] for task in tasks] == ["=b", "e"]
    data = tasks[1]["data"]
    assert data["text"] == TEXTS[4]
    assert data["fields"] == {"price": "1e-09"}
    assert data["review"].startswith("Row e: given dog, suggested owl, wrong with a probability of")
    [prediction] = tasks[1]["predictions"]
    assert prediction["model_version"] == "dataaudit 0.1.0"
    assert prediction["score"] == pytest.approx(audit.mislabels["probability"][4])
    assert prediction["result"] == [
        {"from_name": "label", "to_name": "sample", "type": "choices",
         "value": {"choices": ["owl"]}}
    ]  # fmt: skip
    view = ElementTree.parse(configuration_path).getroot()
    assert [element.get("value") for element in view.iter("Choice")] == CLASSES
    for element in view.iter():
        value = element.get("value", "")
        if value.startswith("$"):
            assert value[1:] in data
    choices = view.find("Choices")
    assert choices is not None
    assert (choices.get("name"), choices.get("toName")) == ("label", "sample")


def test_images_are_exported_as_data_addresses(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path, write_images)
    command_line("export", audit.directory, "--to", "label-studio", "--only", "all")
    tasks = json.loads((tmp_path / "audit-all.json").read_text(encoding="utf-8"))
    assert all(task["data"]["image"].startswith("data:image/webp;base64,") for task in tasks)
    assert str(tasks[0]["data"]["row_id"]).endswith(".png")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_exported(tmp_path, command_line: CommandLine, name: str) -> None:
    audit = audited(tmp_path, FORMATS[name])
    assert command_line("export", audit.directory, "--to", "csv").code == 0
    exported = pd.read_csv(tmp_path / "audit-flagged.csv")
    assert len(exported) == 2


def test_data_that_was_moved_changed_or_lost_is_named(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    moved = tmp_path / "elsewhere.csv"
    audit.data.rename(moved)
    lost = command_line("export", audit.directory, "--to", "csv")
    assert lost.code == 2
    assert lost.err == (
        f"dataaudit: {audit.data}: the training data that was audited is no longer there; "
        "say with --data where it is now\n"
    )
    assert command_line("export", audit.directory, "--to", "csv", "--data", moved).code == 0
    moved.write_bytes(moved.read_bytes().replace(b",owl", b",cat"))
    out = tmp_path / "again.csv"
    changed = command_line("export", audit.directory, "--to", "csv", "--data", moved, "--out", out)
    assert changed.code == 2
    assert "is not the training data that was audited: its SHA-256 is " in changed.err
    assert not out.exists()


def test_a_file_that_exists_is_never_replaced(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    out = tmp_path / "reviewed.csv"
    out.write_text("decisions of hours")
    outcome = command_line("export", audit.directory, "--to", "csv", "--out", out)
    assert outcome.code == 2
    assert outcome.err == f"dataaudit: {out}: already exists; choose another name with --out\n"
    assert out.read_text() == "decisions of hours"


def test_what_is_no_audit_is_refused(tmp_path, command_line: CommandLine) -> None:
    nothing = command_line("export", tmp_path, "--to", "csv")
    assert nothing.code == 2
    assert nothing.err == (
        f"dataaudit: {tmp_path / 'audit.json'}: cannot be read (No such file or directory); "
        "expected a finished audit's directory\n"
    )
    audit = audited(tmp_path / "in memory")
    manifest = audit.directory / "manifest.json"
    content = json.loads(manifest.read_text())
    content["settings"]["train"]["path"] = "(Python object)"
    content["inputs"]["train"]["source"] = "train (DataFrame)"
    manifest.write_text(json.dumps(content))
    memory = command_line("export", audit.directory, "--to", "csv")
    assert memory.code == 2
    assert "the audit read its training rows from memory (train (DataFrame))" in memory.err
    manifest.write_text("{}")
    assert (
        "is no manifest of an audit" in command_line("export", audit.directory, "--to", "csv").err
    )


def test_help_shows_an_example(command_line: CommandLine) -> None:
    for command in ("export", "relabel"):
        assert "Example: " in command_line(command, "--help").out


@given(st.text(alphabet="=+-@'\"; \t\r\nab\uff1d", max_size=12))
def test_formulas_are_made_inert_and_come_back(text: str) -> None:
    inert = without_formulas(text)
    assert as_it_was(inert) == text
    for cell in inert.replace("\t", ";").replace("\r", ";").replace("\n", ";").split(";"):
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", '"', "\uff1d"))


def test_terminals_get_no_control_characters() -> None:
    assert printable("a\x1b[31mb\u202e") == "a\\x1b[31mb\\x202e"


@pytest.mark.parametrize("name", FORMATS)
def test_leaks_of_every_format_are_exported_and_come_back(
    tmp_path, command_line: CommandLine, name: str
) -> None:
    audit = audited(tmp_path, FORMATS[name])
    suspects = with_suspects(audit, tmp_path / "suspects", FORMATS[name])
    outcome = command_line("export", audit.directory, "--to", "csv", "--what", "leak")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("2 leaks: ")
    path = tmp_path / "audit-leaks.csv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["what"] for line in lines] == ["leak", "leak"]
    assert all(line["row_id"] == line["match_row_id"] for line in lines)
    if name != "image folder":
        assert lines[0]["suspect.text"] == lines[0]["match.text"] == TEXTS[0]
        # A formula stays text.
        assert lines[1]["suspect.text"] == "'" + TEXTS[1]
    lines[0]["decision"], lines[1]["decision"] = "copy", "similar"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    ending = suspects.suffix
    out, test = tmp_path / f"out{ending}", tmp_path / f"test{ending}"
    done = command_line(
        "relabel", audit.directory, "--decisions", path, "--out", out, "--evaluation", test
    )
    assert done.code == 0, done.err
    assert "2 leaks decided about, 1 copy" in done.out


@pytest.mark.parametrize("name", ["csv", "image folder"])
def test_leaks_go_to_label_studio_and_back(tmp_path, command_line: CommandLine, name: str) -> None:
    audit = audited(tmp_path, FORMATS[name])
    with_suspects(audit, tmp_path / "suspects", FORMATS[name])
    # One that was set aside has no match to be shown beside it.
    pairs = audit.directory / "contamination.parquet"
    table = pd.read_parquet(pairs)
    table["row_id"] = table["row_id"].convert_dtypes()
    table.loc[len(table) - 1, "row_id"] = pd.NA
    table.to_parquet(pairs, index=False)
    arguments = ("--to", "label-studio", "--what", "leak", "--only", "all")
    outcome = command_line("export", audit.directory, *arguments)
    assert outcome.code == 0, outcome.err
    path = tmp_path / "audit-suspects.json"
    tasks = json.loads(path.read_text(encoding="utf-8"))
    assert len(tasks) == len(table) - 1
    assert [task["data"]["flagged"] for task in tasks[:3]] == [True, True, False]
    assert tasks[2]["data"]["p_value"] is None
    view = ElementTree.parse(path.with_suffix(".xml")).getroot()
    assert [element.get("value") for element in view.iter("Choice")] == [
        "copy",
        "similar",
        "unsure",
    ]
    for element in view.iter():
        value = element.get("value", "")
        if value.startswith("$"):
            assert value[1:] in tasks[0]["data"]
    if name == "image folder":
        assert tasks[0]["data"]["match"].startswith("data:image/webp;base64,")
    else:
        assert tasks[0]["data"]["suspect"] == TEXTS[0]
    choice = {"from_name": "decision", "to_name": "suspect", "type": "choices"}
    tasks[0]["annotations"] = [{"result": [{**choice, "value": {"choices": ["copy"]}}]}]
    tasks[1]["annotations"] = [{"result": [], "was_cancelled": True}]
    done = tmp_path / "decided.json"
    done.write_text(json.dumps(tasks), encoding="utf-8")
    out = tmp_path / ("out.csv" if name == "csv" else "out")
    relabelled = command_line("relabel", audit.directory, "--decisions", done, "--out", out)
    assert relabelled.code == 0, relabelled.err
    assert "2 leaks decided about, 1 copy" in relabelled.out
    refused = command_line("export", audit.directory, "--to", "croissant", "--what", "leak")
    assert refused.code == 2
    assert "expected csv, jsonl or label-studio" in refused.err
    lines = command_line("export", audit.directory, "--to", "jsonl", "--what", "leak")
    assert lines.code == 0, lines.err
    first = json.loads((tmp_path / "audit-leaks.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert set(first["suspect"]) == {"text", "image", "fields"}


def test_a_negative_target_is_the_same_after_it_was_exported() -> None:
    """Spreadsheets take -0.5 for a formula, so that a sign stands before it in the file."""
    exported = without_formulas("-0.5")
    assert exported == "'-0.5"
    assert TARGETS.same(exported, "-0.5")
    assert TARGETS.same("151", "151.0")
    assert not TARGETS.same("'0.5", "-0.5")


def write_large_ids(folder: Path) -> Path:
    """Write six rows whose ids no number of JavaScript holds, all near each other."""
    path = folder / "train.csv"
    frame().assign(key=LARGE).to_csv(path, index=False)
    return path


LARGE = [2**60 + number for number in range(6)]


def test_ids_that_javascript_would_round_are_text_wherever_it_reads_them(
    tmp_path: Path, command_line: CommandLine
) -> None:
    audit = audited(tmp_path, write_large_ids)
    command_line("export", audit.directory, "--to", "label-studio")
    tasks = json.loads((tmp_path / "audit-flagged.json").read_text(encoding="utf-8"))
    assert [task["data"]["row_id"] for task in tasks] == [str(LARGE[1]), str(LARGE[4])]
    # As JavaScript reads and writes it, and back.
    answer = {"type": "choices", "from_name": "label", "value": {"choices": ["dog"]}}
    rounded = json.loads(json.dumps(tasks[0]), parse_int=lambda text: int(float(text)))
    exported = [{**rounded, "annotations": [{"result": [answer], "completed_by": {"email": "r"}}]}]
    (tmp_path / "done.json").write_text(json.dumps(exported))
    outcome = command_line(
        "relabel", audit.directory, "--decisions", tmp_path / "done.json",
        "--out", tmp_path / "new.csv",
    )  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    assert pd.read_csv(tmp_path / "new.csv")["label"].tolist()[:2] == ["cat", "dog"]
    logged = json.loads((audit.directory / "remediation.jsonl").read_text(encoding="utf-8"))
    assert logged["row_id"] == str(LARGE[1])
    report = json.loads((audit.directory / "audit.json").read_text(encoding="utf-8"))
    assert report["remediation"][0]["row_id"] == str(LARGE[1])
    flagged = audit.report.labels.rows[0].model_copy(update={"row_id": LARGE[1]})
    assert flagged.model_dump(mode="json")["row_id"] == str(LARGE[1])
    assert flagged.model_dump()["row_id"] == LARGE[1]


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\ufffe"])
def test_a_class_that_xml_cannot_hold_is_refused(character: str) -> None:
    with pytest.raises(ConfigError, match="has a control character, which no configuration"):
        labelling_configuration("text", ["a", f"b{character}"], [])
    named = ["a\tb", "\u202e", "<&\"'>", "\r\n"]
    view = ElementTree.fromstring(labelling_configuration("text", named, []))
    assert [element.get("value") for element in view.iter("Choice")] == named

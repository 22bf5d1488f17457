"""`dataaudit fix` and `dataaudit certify`: files that mend, a certificate anybody recomputes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CommandLine
from report_examples import example_report

from dataaudit.review.exports.sarif import sarif

YAML = "train: {path: train.csv, id: key}\nsuspects: {path: test.csv, id: key}\n"


@pytest.fixture
def audited(tmp_path: Path, command_line: CommandLine) -> Path:
    """Files of which test row t0 is training row 5, and training rows 0 and 59 are the same."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "key": [f"r{place}" for place in range(60)] + [f"t{place}" for place in range(30)],
            "size": generator.normal(size=90).round(4),
            "weight": generator.normal(size=90).round(4),
            "label": generator.choice(["no", "yes"], 90),
        }
    )
    frame.loc[60, ["size", "weight", "label"]] = frame.loc[5, ["size", "weight", "label"]]
    frame.loc[59, ["size", "weight", "label"]] = frame.loc[0, ["size", "weight", "label"]]
    frame[:60].to_csv(tmp_path / "train.csv", index=False)
    frame[60:].to_csv(tmp_path / "test.csv", index=False)
    (tmp_path / "audit.yaml").write_text(YAML, encoding="utf-8")
    assert command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit").code == 0
    other = {"no": "yes", "yes": "no"}[frame.loc[3, "label"]]
    (tmp_path / "decided.csv").write_text(
        f"what,row_id,decision,new_label,reviewer\nlabel,r3,relabel,{other},Ada\n"
        "label,r59,drop,,Ada\nleak,t7,copy,,Ada\n",
        encoding="utf-8",
    )
    return tmp_path


def fixed(command_line: CommandLine, folder: Path, out: str, *more: object) -> Path:
    outcome = command_line("fix", folder / "audit", "--out", folder / out, *more)
    assert outcome.code == 0, outcome.err
    return folder / out


def test_the_same_decisions_give_the_same_bytes(audited: Path, command_line: CommandLine) -> None:
    decisions = audited / "decided.csv"
    first = fixed(command_line, audited, "first", "--decisions", decisions)
    second = fixed(command_line, audited, "second")
    names = sorted(path.name for path in first.iterdir())
    assert names == ["changes.jsonl", "evaluation.csv", "split.csv", "train.csv"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    lines = (audited / "train.csv").read_bytes().splitlines(keepends=True)
    corrected = (first / "train.csv").read_bytes().splitlines(keepends=True)
    assert corrected[1:4] == lines[1:4]
    assert corrected[4] != lines[4]
    assert corrected[5:] == lines[5:-1]
    kept = pd.read_csv(first / "evaluation.csv")["key"].tolist()
    assert set(pd.read_csv(audited / "test.csv")["key"]) - set(kept) == {"t0", "t7"}
    log = [json.loads(line) for line in (first / "changes.jsonl").read_text().splitlines()]
    assert [(line["file"], line["row_id"], line["change"]) for line in log] == [
        ("train", "r3", "relabel"), ("train", "r59", "drop"),
        ("evaluation", "t0", "drop"), ("evaluation", "t7", "drop"),
    ]  # fmt: skip
    assert log[2]["reason"] == "identical to a training row"


def test_rows_that_belong_together_stand_on_one_side(
    audited: Path, command_line: CommandLine
) -> None:
    out = fixed(command_line, audited, "out")
    split = pd.read_csv(out / "split.csv").set_index("row_id")
    assert len(split) == 90
    assert split.loc["t0", "group"] == split.loc["r5", "group"]
    assert split.loc["r0", "group"] == split.loc["r59", "group"]
    assert split.groupby("group")["split"].nunique().max() == 1
    assert split.loc["t0", "split"] == "train"
    assert (split.loc[split["file"] == "evaluation", "split"] == "evaluation").sum() == 29


def test_a_second_audit_finds_nothing_that_was_fixed(
    audited: Path, command_line: CommandLine
) -> None:
    fixed(command_line, audited, "out", "--decisions", audited / "decided.csv")
    text = YAML.replace("test.csv", "evaluation.csv")
    (audited / "out" / "audit.yaml").write_text(text, encoding="utf-8")
    outcome = command_line("run", audited / "out" / "audit.yaml", "--out", audited / "again")
    assert outcome.code == 0, outcome.err
    pairs = pd.read_parquet(audited / "again" / "contamination.parquet")
    assert not pairs["query_id"].isin(["t0", "t7"]).any()
    issues = pd.read_parquet(audited / "again" / "issues.parquet")
    assert "duplicates" not in set(issues["check"])


def test_a_suspect_decided_to_be_similar_stays(audited: Path, command_line: CommandLine) -> None:
    decisions = audited / "similar.csv"
    decisions.write_text("what,row_id,decision\nleak,t0,similar\n", encoding="utf-8")
    out = fixed(command_line, audited, "out", "--decisions", decisions)
    assert len(pd.read_csv(out / "evaluation.csv")) == 30


def test_what_cannot_be_written_is_refused(audited: Path, command_line: CommandLine) -> None:
    (audited / "there").mkdir()
    outcome = command_line("fix", audited / "audit", "--out", audited / "there")
    assert outcome.code == 2
    assert "already exists" in outcome.err
    with (audited / "train.csv").open("a", encoding="utf-8") as file:
        file.write("r99,1,1,no\n")
    outcome = command_line("fix", audited / "audit", "--out", audited / "new")
    assert outcome.code == 2
    assert "is not the training data that was audited" in outcome.err
    assert not (audited / "new").exists()


def test_a_certificate_holds_until_something_changes(
    audited: Path, command_line: CommandLine
) -> None:
    directory = audited / "audit"
    outcome = command_line("certify", directory, "--check")
    assert outcome.code == 2
    assert "`dataaudit certify` writes it" in outcome.err
    outcome = command_line("certify", directory)
    assert outcome.code == 0, outcome.err
    assert "suspects identical to a training row: 1" in outcome.out
    assert command_line("certify", directory, "--check").code == 0
    issues = pd.read_parquet(directory / "issues.parquet")
    first = issues.index[issues["check"] == "duplicates"][0]
    issues.drop(first).to_parquet(directory / "issues.parquet", index=False)
    outcome = command_line("certify", directory, "--check")
    assert outcome.code == 2
    assert "check duplicates: certified 2, found 1" in outcome.err
    assert "issues.parquet: certified sha256" in outcome.err


def test_a_certificate_of_changed_data_does_not_hold(
    audited: Path, command_line: CommandLine
) -> None:
    assert command_line("certify", audited / "audit").code == 0
    with (audited / "test.csv").open("a", encoding="utf-8") as file:
        file.write("t99,1,1,no\n")
    outcome = command_line("certify", audited / "audit", "--check")
    assert outcome.code == 2
    assert "is not the evaluation data that was audited" in outcome.err


def test_findings_go_to_a_code_scanning_page(audited: Path, command_line: CommandLine) -> None:
    out = audited / "audit.sarif"
    outcome = command_line("export", audited / "audit", "--to", "sarif", "--out", out)
    assert outcome.code == 0, outcome.err
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["version"] == "2.1.0"
    [run] = content["runs"]
    assert run["tool"]["driver"]["name"] == "dataaudit"
    levels = {result["ruleId"]: result["level"] for result in run["results"]}
    assert levels == {"leaks": "error", "check/duplicates": "warning"}
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == set(levels)
    for result in run["results"]:
        [place] = result["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] in ("train.csv", "test.csv")
        assert result["message"]["text"]


def test_places_of_findings_are_addresses() -> None:
    report = example_report("text", rows=60, flagged=5, suspects=20, leaked=4)
    splits = [
        split.model_copy(update={"source": "/repository/my data/été #1.csv"})
        for split in report.identity.splits
    ]
    identity = report.identity.model_copy(update={"splits": splits})
    content = sarif(report.model_copy(update={"identity": identity}), Path("/repository"))
    places = {
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in content["runs"][0]["results"]
    }
    assert places == {"my%20data/%C3%A9t%C3%A9%20%231.csv"}


def leaking(folder: Path, command_line: CommandLine, drop: str | None = None) -> Path:
    """Audit files whose suspects 3 and 5 are training rows, without saying that `key` is an id."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        generator.normal(size=(200, 3)).round(4), columns=["size", "weight", "age"]
    )
    frame["label"] = generator.choice(["no", "yes"], 200)
    suspects = frame[150:].reset_index(drop=True)
    train = frame[:150].assign(key=np.arange(1000, 1150))
    copied = ["size", "weight", "age", "label"]
    suspects.loc[[3, 5], copied] = train.loc[[7, 9], copied].to_numpy()
    # Numbers that are also positions: of other rows.
    suspects["key"] = np.arange(50)[::-1]
    train.to_csv(folder / "train.csv", index=False)
    suspects.drop(columns=[] if drop is None else drop).to_csv(folder / "test.csv", index=False)
    (folder / "audit.yaml").write_text(
        "train: {path: train.csv, id: key}\nsuspects: {path: test.csv}\n", encoding="utf-8"
    )
    assert command_line("run", folder / "audit.yaml", "--out", folder / "audit").code == 0
    return folder


@pytest.mark.parametrize("drop", [None, "label"])
def test_suspects_go_by_the_ids_that_the_audit_read(
    tmp_path: Path, command_line: CommandLine, drop: str | None
) -> None:
    """With labels or without: what is decided of an id is done to the row that has it."""
    leaking(tmp_path, command_line, drop)
    decided = tmp_path / "decided.csv"
    decided.write_text("what,row_id,decision,reviewer\nleak,20,copy,Ada\n", encoding="utf-8")
    out = fixed(command_line, tmp_path, "fixed", "--decisions", decided)
    before, after = pd.read_csv(tmp_path / "test.csv"), pd.read_csv(out / "evaluation.csv")
    assert set(before["key"]) - set(after["key"]) == {46, 44, 20}
    log = [json.loads(line) for line in (out / "changes.jsonl").read_text().splitlines()]
    assert {line["row_id"] for line in log} == {46, 44, 20}
    exported = command_line("export", tmp_path / "audit", "--what", "leak", "--to", "csv")
    assert exported.code == 0, exported.err
    pairs = pd.read_csv(tmp_path / "audit-leaks.csv")
    assert set(pairs["row_id"]) == {44, 46}
    for name in ("size", "weight", "age"):
        assert (pairs[f"suspect.{name}"] == pairs[f"match.{name}"]).all()
    assert command_line("certify", tmp_path / "audit").code == 0


def test_labels_that_an_audit_without_a_model_took_are_no_reason_to_refuse(
    tmp_path: Path, command_line: CommandLine
) -> None:
    leaking(tmp_path, command_line)
    for name, label in (("train", ""), ("test", "maybe")):
        frame = pd.read_csv(tmp_path / f"{name}.csv")
        frame.loc[20, "label"] = label
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    run = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit", "--overwrite")
    assert run.code == 0, run.err
    out = fixed(command_line, tmp_path, "fixed")
    for name, rows in (("train", 150), ("evaluation", 48)):
        original = pd.read_csv(tmp_path / f"{name.replace('evaluation', 'test')}.csv")
        written = pd.read_csv(out / f"{name}.csv")
        assert len(written) == rows
        kept = original[original["key"].isin(written["key"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(written, kept)

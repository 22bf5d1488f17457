"""`dataaudit run`: from a user's own files to the run directory, and what goes wrong on the way."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CommandLine, Project

from dataaudit.report.data import AuditReport

RESULTS = [
    "audit.json", "contamination.parquet", "issues.parquet", "manifest.json", "mislabels.parquet",
    "report.html",
]  # fmt: skip


def test_an_audit_of_files_never_seen_before(project: Project, command_line: CommandLine) -> None:
    out = project.folder / "audit"
    outcome = command_line("run", project.yaml, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == f"report: {out / 'report.html'}"
    assert sorted(path.name for path in out.iterdir()) == RESULTS

    mislabels = pd.read_parquet(out / "mislabels.parquet")
    assert list(mislabels.columns) == [
        "row_id", "given_label", "suggested_label", "score", "probability", "flagged", "rank",
    ]  # fmt: skip
    train = pd.read_csv(project.folder / "train.csv")
    assert mislabels["row_id"].tolist() == train["row_id"].tolist()
    assert mislabels["given_label"].tolist() == train["kind"].tolist()
    assert (mislabels["suggested_label"] != mislabels["given_label"]).all()
    assert sorted(mislabels["rank"]) == list(range(1, 401))
    by_rank = mislabels.sort_values("rank")
    assert by_rank["score"].is_monotonic_decreasing
    assert by_rank["probability"].is_monotonic_decreasing
    assert mislabels["probability"].between(0, 1).all()
    truly_wrong = mislabels["row_id"].isin(project.mislabeled)
    assert truly_wrong[mislabels["rank"] <= 40].mean() >= 0.75

    pairs = pd.read_parquet(out / "contamination.parquet")
    assert list(pairs.columns) == ["query_id", "row_id", "rank", "score", "p_value", "flagged"]
    assert set(pairs["query_id"]) == set(range(1000, 1120))
    assert project.leaked <= set(pairs.loc[pairs["flagged"], "query_id"])

    AuditReport.model_validate_json((out / "audit.json").read_bytes())
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["inputs"]) == {"train", "held_out", "suspects"}
    assert manifest["settings"]["mirror"]["seed"] == 0
    assert manifest["versions"]["torch"]
    stages = manifest["stages"]
    assert list(stages) == list(manifest["timings_seconds"])
    assert "flag contamination" in stages
    # One pass for each model: the trained one, the familiar one and what learned again.
    assert stages["score"]["passes"] >= 3
    assert stages["mirror"]["passes"] > stages["load"]["passes"]
    read = stages["score"]["bytes_read"]
    assert read is None or read > 0


def test_the_same_seed_gives_identical_tables_whatever_the_workers_and_nearly_so_the_batches(
    project: Project, command_line: CommandLine
) -> None:
    tables = {}
    workers = "engine: {workers: 3}\n"
    for name, line in (("first", ""), ("second", workers), ("third", "batch_size: 7\n")):
        with project.yaml.open("a", encoding="utf-8") as file:
            file.write(line)
        out = project.folder / name
        assert command_line("run", project.yaml, "--out", out).code == 0
        tables[name] = out
    for table in ("mislabels.parquet", "contamination.parquet"):
        first = (tables["first"] / table).read_bytes()
        assert first == (tables["second"] / table).read_bytes()
    scores = [pd.read_parquet(tables[name] / "mislabels.parquet") for name in ("first", "third")]
    np.testing.assert_allclose(scores[0]["score"], scores[1]["score"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("gates", "code", "line"),
    [
        ("{contaminated: 0}", 1, "gate contaminated: FAILED"),
        ("{contaminated: 119, mislabel_rate: 0.9}", 0, "gate mislabel_rate: passed"),
        ("{mislabel_rate: 0.0}", 1, "gate mislabel_rate: FAILED"),
    ],
)
def test_gates_decide_the_exit_code(
    project: Project, command_line: CommandLine, gates: str, code: int, line: str
) -> None:
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write(f"gates: {gates}\n")
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == code
    assert line in outcome.out
    assert (project.folder / "audit" / "report.html").is_file()


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def empty(project: Project) -> None:
    header = lines_of(project.folder / "val.csv")[0]
    (project.folder / "val.csv").write_text(header + "\n", encoding="utf-8")


def missing_value(project: Project) -> None:
    path = project.folder / "train.csv"
    lines = lines_of(path)
    fields = lines[3].split(",")
    fields[2] = ""
    path.write_text("\n".join([*lines[:3], ",".join(fields), *lines[4:]]), encoding="utf-8")


def unknown_label(project: Project) -> None:
    path = project.folder / "test.csv"
    lines = lines_of(path)
    lines[5] = ",".join([*lines[5].split(",")[:-1], "banana"])
    path.write_text("\n".join(lines), encoding="utf-8")


BROKEN: list[tuple[str, Callable[[Project], object], list[str]]] = [
    (
        "wrong path",
        lambda p: p.replace("audit.yaml", "train.csv", "trian.csv"),
        ["trian.csv", "did you mean", "train.csv"],
    ),
    (
        "missing column",
        lambda p: p.replace("audit.yaml", "{path: val.csv, label: kind}",
                            "{path: val.csv, label: knd}"),
        ["val.csv", "'knd'", "'kind'"],
    ),
    ("label outside the classes", unknown_label, ["test.csv", "banana", "row 4", "apple"]),
    (
        "shape mismatch",
        lambda p: p.replace("fruit_model.py", '"weight"]', '"weight", "width"]'),
        ["the model failed on the inputs", "(64, 4)"],
    ),
    ("NaN inputs", missing_value, ["train.csv", "row 2", "fruit-2", "NaN", "height"]),
    ("empty split", empty, ["val.csv", "no rows"]),
    (
        "weights that do not fit",
        lambda p: p.replace("fruit_model.py", "nn.Linear(16, 3)", "nn.Linear(16, 5)"),
        ["model.safetensors", "do not fit", "2.weight: file (3, 16), model (5, 16)"],
    ),
    (
        "more outputs than classes",
        lambda p: p.replace("audit.yaml", "  weights: model.safetensors\n", "") or p.replace(
            "fruit_model.py", "nn.Linear(16, 3)", "nn.Linear(16, 5)"),
        ["shape (64, 5)", "[64, 3]"],
    ),
    (
        "factory that raises",
        lambda p: p.replace("fruit_model.py", "return nn", "raise OSError('no disk'); nn"),
        ["model.factory: fruit_model:build() failed: OSError: no disk"],
    ),
    (
        "preprocess that raises",
        lambda p: p.replace("fruit_model.py", '"width"', '"girth"'),
        ["preprocess failed", "girth"],
    ),
    (
        "unknown key",
        lambda p: p.replace("audit.yaml", "suspects:", "suspect:"),
        ["suspect: unknown key; did you mean suspects?"],
    ),
    (
        "duplicate ids",
        lambda p: p.replace("train.csv", "fruit-1,", "fruit-0,"),
        ["train.csv", "fruit-0"],
    ),
    (
        "unknown device",
        lambda p: p.replace("audit.yaml", "name:", "device: warp\nname:"),
        ["device: warp cannot be used here"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "parts"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_bad_input_gives_one_message_and_exit_code_2(
    project: Project,
    command_line: CommandLine,
    fault: Callable[[Project], object],
    parts: list[str],
) -> None:
    fault(project)
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 2
    assert outcome.err.startswith("dataaudit: ")
    assert "Traceback" not in outcome.err
    for part in parts:
        assert part in outcome.err
    assert outcome.out == ""
    assert list((project.folder / "audit").glob("*")) == []


def test_a_finished_audit_is_replaced_only_when_asked(
    project: Project, command_line: CommandLine
) -> None:
    out = project.folder / "audit"
    assert command_line("run", project.yaml, "--out", out).code == 0
    again = command_line("run", project.yaml, "--out", out)
    assert again.code == 2
    assert "holds a finished audit; choose another directory, or pass --overwrite" in again.err
    assert command_line("run", project.yaml, "--out", out, "--overwrite").code == 0


def test_a_directory_with_other_files_is_left_alone(
    project: Project, command_line: CommandLine
) -> None:
    outcome = command_line("run", project.yaml, "--out", project.folder)
    assert outcome.code == 2
    assert "holds files that are no audit's" in outcome.err
    assert (project.folder / "train.csv").is_file()


def test_a_report_is_rendered_again_from_audit_json(
    project: Project, command_line: CommandLine
) -> None:
    out = project.folder / "audit"
    assert command_line("run", project.yaml, "--out", out).code == 0
    before = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert command_line("report", out).code == 0
    assert (out / "report.html").read_bytes() == before
    (out / "audit.json").write_text("{}", encoding="utf-8")
    broken = command_line("report", out)
    assert broken.code == 2
    assert "is no audit report" in broken.err
    assert command_line("report", project.folder).code == 2


def test_without_held_out_or_suspects(project: Project, command_line: CommandLine) -> None:
    lines = [line for line in lines_of(project.yaml) if not line.startswith(("held_out", "susp"))]
    project.yaml.write_text("\n".join(lines), encoding="utf-8")
    out = project.folder / "audit"
    outcome = command_line("run", project.yaml, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert len(pd.read_parquet(out / "mislabels.parquet")) == 400
    assert len(pd.read_parquet(out / "contamination.parquet")) == 0


def test_every_mirror_setting_is_taken(project: Project, command_line: CommandLine) -> None:
    settings = "{kind: finite, seed: 3, steps: 40, learning_rate: 1e-3, batch_size: 16, "
    settings += "parameters: last, batch_norm: frozen, dropout: false}"
    project.replace("audit.yaml", "mirror: {kind: auto, seed: 0}", f"mirror: {settings}")
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write("flags: {budget: 25, false_discovery_rate: 0.05}\n")
    out = project.folder / "audit"
    outcome = command_line("run", project.yaml, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert pd.read_parquet(out / "mislabels.parquet")["flagged"].sum() == 25
    used = json.loads((out / "audit.json").read_text(encoding="utf-8"))["method"]["settings"]
    assert used["mirror.steps"] == 40
    assert used["mirror.parameters"] == "last"
    assert used["mirror.learning_rate"] == 0.001

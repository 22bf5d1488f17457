"""Regression and label sets end to end, as docs/tasks.md has them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine
from sklearn.ensemble import RandomForestRegressor
from torch import nn

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.errors import ConfigError
from dataaudit.mirror.plan import make_plan
from dataaudit.mirror.relearn import relearn
from dataaudit.stages.loading import load_objects

TASKS = Path(__file__).resolve().parent.parent / "docs" / "tasks.md"
COLUMNS = [
    "row_id", "given_label", "suggested_label", "score", "probability", "flagged", "rank",
]  # fmt: skip


def project(folder: Path, heading: str) -> Path:
    """Write the files that a section of the document shows, and run its prepare.py."""
    section = TASKS.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    for block in re.findall(r"```\w+\n(# (\S+)\n.*?)```", section, flags=re.DOTALL):
        (folder / block[1]).write_text(block[0], encoding="utf-8")
    subprocess.run([sys.executable, "prepare.py"], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("regression"), "Regression")


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("facts"), "Several labels for each row")


def found(folder: Path, table: pd.DataFrame) -> tuple[float, float]:
    """Return precision and recall of the flags against what was spoiled."""
    spoiled = np.loadtxt(folder / "spoiled.txt", dtype=int)
    flagged = table.index[table["flagged"]]
    return np.isin(flagged, spoiled).mean(), np.isin(spoiled, flagged).mean()


def test_regression_from_the_run_to_the_corrected_file(
    regression: Path, command_line: CommandLine
) -> None:
    out = regression / "run"
    outcome = command_line("run", regression / "audit.yaml", "--out", out)
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(out / "mislabels.parquet")
    assert list(table.columns) == COLUMNS
    assert table["given_label"].dtype == table["suggested_label"].dtype == np.float64
    precision, recall = found(regression, table)
    assert precision >= 0.7
    assert recall >= 0.8

    report = json.loads((out / "audit.json").read_text())
    assert report["labels"]["noise_table"] is None
    assert any(point["flagged"] for point in report["labels"]["targets"])
    assert "what the model expects" in report["labels"]["rows"][0]["note"]
    assert sum(item["rows"] for item in report["composition"]["counts"]) == 442
    page = (out / "report.html").read_text()
    assert "How far targets lie from what the model expects" in page
    assert "Given and true labels" not in page

    outcome = command_line("export", out, "--to", "label-studio", "--out", regression / "ls.json")
    assert outcome.code == 0, outcome.err
    tasks = json.loads((regression / "ls.json").read_text())
    view = ElementTree.parse(regression / "ls.xml").getroot()
    assert [part.get("name") for part in view.iter("Number")] == ["label"]
    first = tasks[0]
    (suggestion,) = first["predictions"][0]["result"]
    assert suggestion["value"] == {"number": float(first["data"]["suggested_label"])}

    # A reviewer accepts the first suggestion and looks the second value up.
    first["annotations"] = [{"result": [suggestion]}]
    answer = {**suggestion, "value": {"number": 151}}
    tasks[1]["annotations"] = [{"result": [answer]}]
    (regression / "reviewed.json").write_text(json.dumps(tasks))
    corrected = regression / "corrected.csv"
    outcome = command_line(
        "relabel", out, "--decisions", regression / "reviewed.json", "--out", corrected
    )
    assert outcome.code == 0, outcome.err
    before = pd.read_csv(regression / "train.csv")
    after = pd.read_csv(corrected)
    changed = (before != after).any(axis=1)
    rows = [task["data"]["row_id"] for task in tasks[:2]]
    assert changed[changed].index.tolist() == sorted(rows)
    assert after.loc[rows[0], "progression"] == float(first["data"]["suggested_label"])
    assert after.loc[rows[1], "progression"] == 151

    text = (regression / "audit.yaml").read_text().replace("train.csv", "corrected.csv")
    (regression / "again.yaml").write_text(text)
    again = regression / "run2"
    assert command_line("run", regression / "again.yaml", "--out", again).code == 0
    outcome = command_line("compare", out, again, "--out", regression / "compare.html")
    assert outcome.code == 0, outcome.err


def test_a_new_target_that_is_no_number_is_refused(
    regression: Path, command_line: CommandLine
) -> None:
    run = regression / "run"
    if not run.exists():
        # The test that makes it runs in another process.
        assert command_line("run", regression / "audit.yaml", "--out", run).code == 0
    (regression / "bad.csv").write_text("row_id,new_label\n3,much\n")
    outcome = command_line(
        "relabel", run, "--decisions", regression / "bad.csv",
        "--out", regression / "never.csv",
    )  # fmt: skip
    assert outcome.code == 2
    assert "row 3: 'much' is no finite number" in outcome.err


def test_leaks_of_a_regression_change_the_share_of_variance_explained(regression: Path) -> None:
    train = pd.read_csv(regression / "train.csv")
    trusted = pd.read_csv(regression / "trusted.csv")
    suspects = pd.concat([trusted[:60], train[:10]], ignore_index=True)
    features = train.drop(columns="progression")
    model = RandomForestRegressor(30, random_state=0).fit(features, train["progression"])
    result = dataaudit.audit(
        model, train, trusted[60:], suspects, task="regression", label="progression"
    )
    pairs = result.contamination[result.contamination["flagged"]]
    assert set(range(60, 70)) <= set(pairs["query_id"])
    assert (pairs.set_index("query_id").loc[list(range(60, 70)), "row_id"] == list(range(10))).all()
    leakage = result.report.leakage
    assert leakage is not None
    assert leakage.metric_name == "share of variance explained"
    assert "distilled" in result.report.method.settings["model"]


def test_label_sets_from_the_run_to_the_report(facts: Path, command_line: CommandLine) -> None:
    out = facts / "run"
    outcome = command_line("run", facts / "audit.yaml", "--out", out)
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(out / "mislabels.parquet")
    assert list(table.columns) == COLUMNS
    precision, recall = found(facts, table)
    assert precision >= 0.7
    assert recall >= 0.7
    train = pd.read_parquet(facts / "train.parquet")
    names = ["even", "large", "prime", "loop"]
    texts = ["|".join(np.array(names)[row]) or "(none)" for row in train[names].to_numpy(bool)]
    assert table["given_label"].tolist() == texts
    report = json.loads((out / "audit.json").read_text())
    assert [item["label"] for item in report["labels"]["per_class"]] == names
    assert re.search(r"(is given|is missing), and", report["labels"]["rows"][0]["note"])
    outcome = command_line("relabel", out, "--decisions", facts / "x.csv", "--out", facts / "y")
    assert outcome.code == 2


def test_a_list_column_is_audited_exported_and_relabeled(
    facts: Path, tmp_path: Path, command_line: CommandLine
) -> None:
    names = np.array(["even", "large", "prime", "loop"])
    for name in ("train", "trusted"):
        table = pd.read_parquet(facts / f"{name}.parquet")
        tags = [names[row].tolist() for row in table[names].to_numpy(bool)]
        table.drop(columns=list(names)).assign(tags=tags).to_parquet(tmp_path / f"{name}.parquet")
    for name in ("facts_model.py", "model.safetensors"):
        (tmp_path / name).write_bytes((facts / name).read_bytes())
    text = (facts / "audit.yaml").read_text().replace("[even, large, prime, loop]", "tags")
    text += "classes: [even, large, prime, loop]\nflags: {budget: 5}\nmirror: {steps: 60}\n"
    (tmp_path / "audit.yaml").write_text(text)
    outcome = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    outcome = command_line("export", tmp_path / "run", "--to", "label-studio", "--out",
                           tmp_path / "ls.json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    view = ElementTree.parse(tmp_path / "ls.xml").getroot()
    (choices,) = view.iter("Choices")
    assert choices.get("choice") == "multiple"
    assert [part.get("value") for part in choices] == [*names, "(none)"]
    tasks = json.loads((tmp_path / "ls.json").read_text())
    (suggestion,) = tasks[0]["predictions"][0]["result"]
    tasks[0]["annotations"] = [{"result": [suggestion]}]
    tasks[1]["annotations"] = [{"result": [{**suggestion, "value": {"choices": ["(none)"]}}]}]
    (tmp_path / "reviewed.json").write_text(json.dumps(tasks))
    outcome = command_line(
        "relabel", tmp_path / "run", "--decisions", tmp_path / "reviewed.json",
        "--out", tmp_path / "new.parquet",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    before, after = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("train", "new"))
    rows = [task["data"]["row_id"] for task in tasks[:2]]
    expected = [name for name in tasks[0]["data"]["suggested_label"].split("|") if name != "(none)"]
    assert after["tags"][rows[0]].tolist() == expected
    assert after["tags"][rows[1]].tolist() == []
    others = ~before.index.isin(rows)
    assert all(map(np.array_equal, before["tags"][others], after["tags"][others]))


def classifier_of_even(facts: Path) -> tuple[nn.Module, pd.DataFrame, pd.DataFrame]:
    """Return an untrained model, and data whose label is whether a digit is even."""
    torch.manual_seed(0)
    train, trusted = (pd.read_parquet(facts / f"{name}.parquet") for name in ("train", "trusted"))
    return nn.Linear(64, 2), train, trusted


def pixels(frame: pd.DataFrame) -> torch.Tensor:
    return torch.tensor(frame.filter(like="pixel").to_numpy(), dtype=torch.float32)


def test_rows_with_the_ignored_label_are_not_judged(facts: Path) -> None:
    model, train, trusted = classifier_of_even(facts)
    ignored = train.index % 10 == 3
    train["even"] = train["even"].where(~ignored, -100)
    result = dataaudit.audit(
        model, train, trusted, label="even", preprocess=pixels, ignore_label=-100,
        mirror={"steps": 20},
    )  # fmt: skip
    assert len(result.mislabels) == 1000
    assert result.mislabels["probability"].isna().tolist() == ignored.tolist()
    assert not result.mislabels["flagged"][ignored].any()
    assert result.set_aside["row_id"].tolist() == train.index[ignored].tolist()
    notes = " ".join(result.report.coverage.notes)
    assert "100 of 1000 rows were not judged" in notes


def test_the_mirror_learns_with_the_weights_that_are_stated(facts: Path) -> None:
    model, train, trusted = classifier_of_even(facts)

    def share_of_even(loss: dict[str, object]) -> float:
        settings = {"loss": loss, "mirror": {"steps": 40}}
        config = config_from_python("even", None, settings)
        splits = {"train": train, "held_out": trusted, "suspects": None}
        loaded = load_objects(model, splits, pixels, config)
        mirror = relearn(loaded, make_plan(loaded, config))
        with torch.inference_mode():
            outputs = mirror.relearned[0].copy_of(model)(pixels(train))
        return float(loaded.task.predictions(outputs)[:, 1].mean())

    plain = share_of_even({})
    weighted = share_of_even({"class_weights": [1.0, 20.0], "label_smoothing": 0.1})
    assert weighted > plain + 0.1
    assert share_of_even({"class_weights": {"1": 20.0}, "label_smoothing": 0.1}) == weighted


def test_weights_for_other_classes_are_refused(facts: Path) -> None:
    model, train, trusted = classifier_of_even(facts)
    for weights, message in [
        ({"odd": 2.0}, "loss.class_weights: found 'odd', expected the classes 0, 1"),
        ([1.0, 2.0, 3.0], "loss.class_weights: found 3 weights, expected 2, one for each"),
    ]:
        with pytest.raises(ConfigError, match=message):
            dataaudit.audit(
                model, train, trusted, label="even", preprocess=pixels,
                loss={"class_weights": weights},
            )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "regression", "classes": [0, 1]}, "classes: .*no classes for task regression"),
        ({"loss": "huber"}, "loss: .*kind is for task regression; task classification"),
        ({"task": "regression", "loss": {"label_smoothing": 0.1}}, "loss: .*not for task regress"),
        ({"label": ["a", "b"]}, "train: .*label names 2 columns; expected one"),
        ({"task": "multi-label", "classes": ["a|b", "c"]}, "classes: .*'a|b' cannot be told"),
        ({"classes": ["a"]}, "classes: .*expected at least 2 classes"),
        ({"loss": {"class_weights": {"a": -1}}}, "loss.class_weights.*greater than 0"),
    ],
)
def test_settings_that_do_not_fit_the_task_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        dataaudit.audit(object(), pd.DataFrame(), **settings)

"""Tags end to end, as docs/tasks.md has them: from the run to the corrected file."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from conftest import CommandLine
from test_other_tasks import COLUMNS, found, project

import dataaudit
from dataaudit.config import config_from_python, load_config
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.models.loading import load_function
from dataaudit.scoring.local import LocalEngine, joined
from dataaudit.scoring.perturbation import UNPERTURBED
from dataaudit.stages.loading import load, load_objects

HEADING = "One tag for each token"


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("tagged"), HEADING)


def table_of(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_json(folder / f"{name}.jsonl", lines=True)


def test_tags_from_the_run_to_the_corrected_file(tagged: Path, command_line: CommandLine) -> None:
    out = tagged / "run"
    outcome = command_line("run", tagged / "audit.yaml", "--out", out)
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(out / "mislabels.parquet")
    assert list(table.columns) == COLUMNS
    precision, recall = found(tagged, table)
    assert precision >= 0.7
    assert recall >= 0.8
    train = table_of(tagged, "train")
    assert table["given_label"].tolist() == train["tags"].str.join(" ").tolist()

    report = json.loads((out / "audit.json").read_text())
    first = report["labels"]["rows"][0]
    given, suggested = first["given_label"].split(), first["suggested_label"].split()
    places = [place for place, tag in enumerate(given) if tag != suggested[place]]
    words = train["words"][first["row_id"]]
    assert f"token {places[0] + 1} ('{words[places[0]]}') is tagged" in first["note"]
    assert [item["label"] for item in report["labels"]["per_class"]] == ["O", "PER", "LOC"]
    counts = {item["label"]: item["rows"] for item in report["composition"]["counts"][:3]}
    assert counts["PER"] == sum("PER" in tags for tags in train["tags"])
    assert " ".join(words) in (out / "report.html").read_text()

    outcome = command_line("export", out, "--to", "label-studio", "--out", tagged / "ls.json")
    assert outcome.code == 0, outcome.err
    view = ElementTree.parse(tagged / "ls.xml").getroot()
    assert [part.get("name") for part in view.iter("TextArea")] == ["label", "comment"]
    tasks = json.loads((tagged / "ls.json").read_text())
    (suggestion,) = tasks[0]["predictions"][0]["result"]
    assert suggestion["value"] == {"text": [tasks[0]["data"]["suggested_label"]]}
    assert tasks[0]["data"]["text"] == " ".join(words)

    # A reviewer accepts the first suggestion and types the second row's tags.
    count = len(tasks[1]["data"]["given_label"].split())
    typed = {**suggestion, "value": {"text": [" ".join(["O"] * count)]}}
    tasks[0]["annotations"] = [{"result": [suggestion]}]
    tasks[1]["annotations"] = [{"result": [typed]}]
    (tagged / "reviewed.json").write_text(json.dumps(tasks))
    outcome = command_line(
        "relabel", out, "--decisions", tagged / "reviewed.json", "--out", tagged / "new.jsonl"
    )
    assert outcome.code == 0, outcome.err
    after = table_of(tagged, "new")
    rows = [task["data"]["row_id"] for task in tasks[:2]]
    assert after["tags"][rows[0]] == suggested
    assert after["tags"][rows[1]] == ["O"] * count
    others = ~train.index.isin(rows)
    pd.testing.assert_frame_equal(after[others], train[others])

    text = (tagged / "audit.yaml").read_text().replace("train.jsonl", "new.jsonl")
    (tagged / "again.yaml").write_text(text + "mirror: {steps: 5}\n")
    again = tagged / "run2"
    assert command_line("run", tagged / "again.yaml", "--out", again).code == 0
    outcome = command_line("compare", out, again, "--out", tagged / "compare.html")
    assert outcome.code == 0, outcome.err


def quick(tagged: Path, **settings: object) -> dataaudit.AuditResult:
    """Audit the tables with a few steps, from Python."""
    return dataaudit.audit(
        load_function("tag_model:build", tagged, "model")(),
        settings.pop("train"), settings.pop("held_out", None), settings.pop("suspects", None),
        preprocess=load_function("tag_model:preprocess", tagged, "preprocess"),
        label="tags", task="token-classification",
        **{"classes": ["O", "PER", "LOC"], "mirror": {"steps": 5}, **settings},
    )  # fmt: skip


def test_numbers_in_parquet_are_relabeled_as_numbers(
    tagged: Path, tmp_path: Path, command_line: CommandLine
) -> None:
    for name in ("train", "trusted"):
        table = table_of(tagged, name).head(120)
        numbers = [[["O", "PER", "LOC"].index(tag) for tag in tags] for tags in table["tags"]]
        if name == "train":
            numbers[3] = [-100] * len(numbers[3])
            numbers[4][0] = -100
        table.assign(tags=numbers).to_parquet(tmp_path / f"{name}.parquet")
    for name in ("tag_model.py", "model.safetensors"):
        (tmp_path / name).write_bytes((tagged / name).read_bytes())
    text = (tagged / "audit.yaml").read_text().replace(".jsonl", ".parquet")
    (tmp_path / "audit.yaml").write_text(text + "mirror: {steps: 5}\n")
    outcome = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(tmp_path / "run" / "mislabels.parquet")
    assert np.flatnonzero(table["probability"].isna()).tolist() == [3]
    given = table["given_label"][4].split()
    assert given[0] == "_"
    assert table["suggested_label"][4].split()[0] == "_"
    new = ["_", *("LOC" if tag == "O" else "O" for tag in given[1:])]
    (tmp_path / "said.csv").write_text(f"row_id,new_label\n4,{' '.join(new)}\n")
    out = tmp_path / "new.parquet"
    arguments = ("relabel", tmp_path / "run", "--decisions", tmp_path / "said.csv", "--out", out)
    outcome = command_line(*arguments)
    assert outcome.code == 0, outcome.err
    numbers = [-100, *(["O", "PER", "LOC"].index(tag) for tag in new[1:])]
    assert pd.read_parquet(out)["tags"][4].tolist() == numbers
    for said, message in [
        ("O O", "row 4: found 2 tags in 'O O', expected"),
        (" ".join(["_", "X", *new[2:]]), "row 4: 'X' in "),
        (" ".join(["O", *new[1:]]), "_ stands for tokens that are not judged, and stays"),
    ]:
        (tmp_path / "said.csv").write_text(f"row_id,new_label\n4,{said}\n")
        outcome = command_line(*arguments[:-1], tmp_path / "never.parquet")
        assert outcome.code == 2
        assert message in outcome.err


def test_leaks_are_found_by_the_words(tagged: Path) -> None:
    train, trusted = table_of(tagged, "train").head(200), table_of(tagged, "trusted")
    names = [f"street{line}" for line in range(200)]
    train["words"] = [[*words, name] for words, name in zip(train["words"], names, strict=True)]
    train["tags"] = [[*tags, "LOC"] for tags in train["tags"]]
    fresh = trusted.iloc[:30].copy()
    fresh["words"] = [[*words, f"house{row}"] for row, words in enumerate(fresh["words"])]
    fresh["tags"] = [[*tags, "O"] for tags in fresh["tags"]]
    suspects = pd.concat([fresh, train[:10]], ignore_index=True)
    result = quick(tagged, train=train, suspects=suspects)
    best = result.contamination[result.contamination["rank"] == 1].set_index("query_id")
    assert best["row_id"][list(range(30, 40))].tolist() == list(range(10))
    assert best["flagged"][list(range(30, 40))].all()
    leakage = result.report.leakage
    assert leakage is not None
    assert leakage.metric_name == "share of tags right"


def test_the_batch_size_changes_nothing(tagged: Path) -> None:
    config = load_config(tagged / "audit.yaml")
    loaded = load(config, tagged)
    small, large = (
        joined(
            list(LocalEngine(size).score(loaded.model, loaded.task, loaded.train, [UNPERTURBED]))
        )
        for size in (7, 250)
    )
    np.testing.assert_allclose(small.losses, large.losses, atol=1e-5)
    np.testing.assert_allclose(
        loaded.task.metric(small.predictions[:, 0], loaded.train.labels),
        loaded.task.metric(large.predictions[:, 0], loaded.train.labels),
    )
    # Padding is what a batch has of it: every row's tokens come out alike.
    tokens = loaded.train.labels != -100
    for scores in (small, large):
        sums = scores.predictions[:, 0].reshape(600, -1, 3).sum(axis=2)
        np.testing.assert_allclose(sums[tokens], 1, atol=1e-5)


def test_what_does_not_fit_is_refused(tagged: Path) -> None:
    train = table_of(tagged, "train").head(100)
    longer = train.assign(tags=[[*tags, "O"] for tags in train["tags"]])
    with pytest.raises(ModelError, match="outputs for 8 tokens where a row has tags for 9"):
        quick(tagged, train=longer)
    with pytest.raises(DataError, match="expected a list of tags, one for each token"):
        quick(tagged, train=train.assign(tags="O"))
    with pytest.raises(DataError, match=r"add the line `classes: .LOC, O, PER.`"):
        quick(tagged, train=train, classes=None)
    with pytest.raises(ModelError, match=r"expected \[rows, tokens, 2\], one column for each of"):
        quick(tagged, train=train.assign(tags=[[0] * len(t) for t in train["tags"]]),
              classes=["O", "PER"])  # fmt: skip
    for classes in (["O", "B PER"], ["O", "_"]):
        with pytest.raises(ConfigError, match="cannot be told apart in a list of tags"):
            quick(tagged, train=train, classes=classes)
    with pytest.raises(ConfigError, match="label names 2 columns; expected one"):
        config_from_python(["a", "b"], None, {"task": "token-classification"})


def test_classes_are_as_many_as_the_model_has_outputs(tagged: Path) -> None:
    train = table_of(tagged, "train").head(20)
    train["tags"] = [[0] * len(tags) for tags in train["tags"]]
    config = config_from_python("tags", None, {"task": "token-classification"})
    model = load_function("tag_model:build", tagged, "model")()
    preprocess = load_function("tag_model:preprocess", tagged, "preprocess")
    splits = {"train": train, "held_out": None, "suspects": None}
    loaded = load_objects(model, splits, preprocess, config)
    assert list(loaded.train.classes) == [0, 1, 2]

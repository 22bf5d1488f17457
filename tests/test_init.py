"""`dataaudit init`: looks at files, guesses, and writes what runs after one function is filled."""

import ast
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import CommandLine, Project
from PIL import Image
from safetensors.torch import load_file

from dataaudit.config import load_config
from dataaudit.resources import resource_folder
from dataaudit.scaffold.columns import guess
from dataaudit.scaffold.find import role_of

UNFILLED = 'raise NotImplementedError("fill in {}() in my_model.py")'


def labels_of(folder: Path, labels: list[object], command_line: CommandLine) -> Any:
    frame = pd.DataFrame({"x": np.arange(float(len(labels))), "label": labels})
    frame.to_parquet(folder / "train.parquet")
    return command_line("init", folder)


def test_labels_that_are_no_classes(tmp_path: Path, command_line: CommandLine) -> None:
    outcome = labels_of(tmp_path, [0.0, 1.0] * 9 + [np.inf], command_line)
    assert (outcome.code, outcome.err) == (0, "")
    lists = tmp_path / "lists"
    lists.mkdir()
    outcome = labels_of(lists, [["a", "b"]] * 20, command_line)
    assert outcome.code == 2
    assert "cannot be written with the names in the data" in outcome.err


def test_labels_that_are_missing_are_no_class(tmp_path: Path, command_line: CommandLine) -> None:
    rows = "".join(f"{number},{label}\n" for number, label in enumerate(["a", "", "b"] * 10))
    (tmp_path / "train.csv").write_text(f"x,label\n{rows}", encoding="utf-8")
    outcome = command_line("init", tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    assert "labels in 'label', 2 classes" in outcome.out
    assert "\nclasses: [a, b]\n" in (tmp_path / "audit.yaml").read_text(encoding="utf-8")


def test_numbers_with_a_fraction_are_targets(tmp_path: Path, command_line: CommandLine) -> None:
    frame = pd.DataFrame({"x": range(30), "target": np.linspace(0, 5, 30)})
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame[:9].to_csv(tmp_path / "test.csv", index=False)
    outcome = command_line("init", tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    assert (
        "train: train.csv (30 rows, table; targets in 'target'; ids are positions)" in outcome.out
    )
    settings = (tmp_path / "audit.yaml").read_text(encoding="utf-8")
    assert "\ntask: regression\n" in settings
    assert "classes" not in settings
    module = (tmp_path / "my_model.py").read_text(encoding="utf-8")
    assert "one number for each row" in module
    assert "target" not in module


def test_a_column_of_words_that_are_all_different_names_the_rows(
    tmp_path: Path, command_line: CommandLine
) -> None:
    table = pd.DataFrame(
        {
            "town": ["Bonn", "Ulm"] * 15,
            "patient": [f"P-{number:03}" for number in range(30)],
            "age": range(30),
            "label": ["ill", "well", "ill"] * 10,
        }
    )
    table.to_csv(tmp_path / "train.csv", index=False)
    table[:10].to_csv(tmp_path / "test.csv", index=False)
    outcome = command_line("init", tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    assert "labels in 'label', 2 classes; ids in 'patient')" in outcome.out
    assert (
        "test.csv (10 rows, table; labels in 'label', 2 classes; ids are positions)" in outcome.out
    )
    assert "'patient'" not in (tmp_path / "my_model.py").read_text(encoding="utf-8")


def test_how_rows_are_cut_into_parts_decides_nothing(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": range(40), "kind": [f"class {n % 20}" for n in range(40)]})
    folder = tmp_path / "train"
    folder.mkdir()
    for number, part in enumerate((table[:20], table[20:])):
        part.to_parquet(folder / f"train-{number:05}-of-00002.parquet", index=False)
    assert guess(folder).label == "kind"


def fill(folder: Path, function: str, code: str) -> None:
    path = folder / "my_model.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(UNFILLED.format(function)) == 1
    path.write_text(text.replace(UNFILLED.format(function), code), encoding="utf-8")


def test_a_table_runs_after_filling_one_function(
    project: Project, command_line: CommandLine
) -> None:
    folder = project.folder
    project.yaml.unlink()
    (folder / "fruit_model.py").unlink()
    outcome = command_line("init", folder)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "train: train.csv (400 rows, table; labels in 'kind', 3 classes; ids in 'row_id')",
        "held_out: val.csv (150 rows, table; labels in 'kind', 3 classes; ids are positions)",
        "suspects: test.csv (120 rows, table; labels in 'kind', 3 classes; ids in 'query_id')",
        f"written: {project.yaml} (check what was guessed) and {folder / 'my_model.py'}",
        f"next: fill in build() in {folder / 'my_model.py'}, then dataaudit run {project.yaml} "
        f"--out {folder / 'audit'}",
    ]
    config = load_config(project.yaml)
    assert config.classes == ["apple", "pear", "plum"]
    assert config.model.weights == folder / "model.safetensors"
    unfilled = command_line("run", project.yaml, "--out", folder / "audit")
    assert unfilled.code == 2
    assert "fill in build() in my_model.py" in unfilled.err
    # A command of its own would read the module afresh.
    sys.modules.pop("my_model")
    fill(
        folder,
        "build",
        "nn = torch.nn; return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))",
    )
    ran = command_line("run", project.yaml, "--out", folder / "audit")
    assert (ran.code, ran.err) == (0, "")


def test_image_folders_run_after_filling_one_function(
    tmp_path: Path, command_line: CommandLine
) -> None:
    generator = np.random.default_rng(0)
    for split, count in (("train", 40), ("valid", 12), ("test", 6)):
        for name, shade in (("dark", 60), ("light", 180)):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.normal(shade, 30, (8, 8, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{split}-{number}.png")
    outcome = command_line("init", tmp_path)
    assert outcome.out.splitlines()[:3] == [
        "train: pictures/train (80 rows, image; labels in 'label', 2 classes; ids in 'path')",
        "held_out: pictures/valid (24 rows, image; labels in 'label', 2 classes; ids in 'path')",
        "suspects: pictures/test (12 rows, image; labels in 'label', 2 classes; ids in 'path')",
    ]
    module = "torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))"
    fill(tmp_path, "build", f"torch.manual_seed(0); return {module}")
    ran = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit")
    assert (ran.code, ran.err) == (0, "")


def test_text_runs_after_filling_one_function(tmp_path: Path, command_line: CommandLine) -> None:
    generator = np.random.default_rng(0)
    words = {"ham": ["soup", "train", "seven", "home"], "spam": ["win", "free", "prize", "now"]}
    for name, count in (("messages_train", 120), ("messages_dev", 40)):
        labels = generator.choice(["ham", "spam"], count)
        lines = [
            {"message": " ".join(generator.choice(words[label], 6)), "class": label}
            for label in labels
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    outcome = command_line("init", tmp_path)
    assert outcome.out.splitlines()[0] == (
        "train: messages_train.jsonl (120 rows, text; labels in 'class', 2 classes; "
        "ids are positions)"
    )
    code = (
        "import torch\n    torch.manual_seed(0)\n"
        "    count = lambda text: [text.split().count(word) for word in ('soup', 'free', 'win')]\n"
        "    encode = lambda texts: torch.tensor([count(text) for text in texts]).float()\n"
        "    return torch.nn.Linear(3, 2), encode"
    )
    fill(tmp_path, "load_model", code)
    ran = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit")
    assert (ran.code, ran.err) == (0, "")


def test_the_sample_data_is_audited_from_a_fresh_start(
    tmp_path: Path, command_line: CommandLine
) -> None:
    source = resource_folder("sample_data")
    for name in ("train.parquet", "held_out.parquet", "digits_model.safetensors"):
        shutil.copy(source / name, tmp_path)
    assert command_line("init", tmp_path).code == 0
    shutil.copy(source / "digits_model.py", tmp_path)
    fill(tmp_path, "build", "import digits_model; return digits_model.build()")
    ran = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit")
    assert (ran.code, ran.err) == (0, "")


def test_saved_splits_estimators_and_odd_names(tmp_path: Path, command_line: CommandLine) -> None:
    from review_examples import write_saved

    for split in ("train", "validation"):
        folder = tmp_path / "corpus: no" / split
        folder.mkdir(parents=True)
        write_saved(folder).rename(folder.parent / f"{split}-saved")
        folder.rmdir()
    (tmp_path / "model.joblib").write_bytes(b"")
    pd.DataFrame({"a": [1, 2]}).to_csv(tmp_path / "prices.csv", index=False)
    outcome = command_line("init", tmp_path)
    assert outcome.code == 0, outcome.err
    assert "not used: prices.csv" in outcome.out
    assert "estimator: model.joblib (reading it runs code, so only build() in your" in outcome.out
    content = yaml.safe_load((tmp_path / "audit.yaml").read_text(encoding="utf-8"))
    assert content["train"] == {"path": "corpus: no/train-saved", "label": "label", "id": "key"}
    assert "classes" not in content
    assert "suspects" not in content
    source = (tmp_path / "my_model.py").read_text(encoding="utf-8")
    assert "FILE = 'model.joblib'\nTRUSTED = False" in source
    assert "return joblib.load(path)" in source


def test_class_names_that_yaml_would_misread_are_quoted(
    tmp_path: Path, command_line: CommandLine
) -> None:
    labels = ["no", "yes", "012"] * 10
    pd.DataFrame({"x": np.arange(30) * 0.5, "answer": labels}).to_csv(
        tmp_path / "rows.csv", index=False
    )
    assert command_line("init", tmp_path).code == 0
    assert load_config(tmp_path / "audit.yaml").classes == ["012", "no", "yes"]


def test_models_that_need_no_code_are_recognised(
    project: Project, command_line: CommandLine
) -> None:
    folder = project.folder
    project.yaml.unlink()
    (folder / "fruit_model.py").unlink()
    module = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    module.load_state_dict(load_file(folder / "model.safetensors"))
    rows = torch.export.Dim("rows")
    program = torch.export.export(module.eval(), (torch.randn(5, 3),), dynamic_shapes=({0: rows},))
    torch.export.save(program, folder / "fruit.pt2")
    outcome = command_line("init", folder)
    assert outcome.code == 0
    assert outcome.out.splitlines()[3:] == [
        "model: fruit.pt2 (a torch.export program, needs no code)",
        f"written: {project.yaml}",
        f"next: check trusted: true, if you trust its maker; then dataaudit run {project.yaml} "
        f"--out {folder / 'audit'}",
    ]
    assert not (folder / "my_model.py").exists()
    config = load_config(project.yaml)
    assert (config.model.path, config.model.trusted) == (folder / "fruit.pt2", False)
    assert config.preprocess is None
    refused = command_line("run", project.yaml, "--out", folder / "audit")
    assert refused.code == 2
    project.replace("audit.yaml", "trusted: false", "trusted: true")
    ran = command_line("run", project.yaml, "--out", folder / "audit")
    assert (ran.code, ran.err) == (0, "")


def test_folders_of_transformers_and_checkpoints_are_recognised(
    tmp_path: Path, command_line: CommandLine
) -> None:
    frame = pd.DataFrame({"text": [f"some words {n} of a text" for n in range(30)]})
    frame.assign(label=["ham", "spam"] * 15).to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "last.ckpt").touch()
    checkpoint = command_line("init", tmp_path)
    assert "weights: last.ckpt (a Lightning checkpoint: the part that fits" in checkpoint.out
    assert load_config(tmp_path / "audit.yaml").model.weights == tmp_path / "last.ckpt"
    for name in ("audit.yaml", "my_model.py"):
        (tmp_path / name).unlink()
    saved = tmp_path / "models" / "classifier"
    saved.mkdir(parents=True)
    (saved / "model.safetensors").touch()
    for names, expected in (({"0": "ham", "1": "spam"}, None), ({}, ["ham", "spam"])):
        (saved / "config.json").write_text(json.dumps({"id2label": names or None}))
        outcome = command_line("init", tmp_path)
        assert "model: models/classifier (a transformers model, needs no code)" in outcome.out
        config = load_config(tmp_path / "audit.yaml")
        assert (config.model.path, config.classes) == (saved, expected)
        (tmp_path / "audit.yaml").unlink()


@pytest.mark.parametrize("name", ["audit.yaml", "my_model.py"])
def test_nothing_is_overwritten(project: Project, command_line: CommandLine, name: str) -> None:
    project.yaml.unlink()
    (project.folder / name).write_text("mine", encoding="utf-8")
    outcome = command_line("init", project.folder)
    assert outcome.code == 2
    assert outcome.err == (
        f"dataaudit: {project.folder / name}: already exists, and is not overwritten; move it "
        "away to start afresh\n"
    )
    written = {path.name for path in project.folder.iterdir()} & {"audit.yaml", "my_model.py"}
    assert written == {name}


def test_folders_without_usable_data_are_refused(tmp_path: Path, command_line: CommandLine) -> None:
    nothing = command_line("init", tmp_path)
    assert nothing.code == 2
    assert "holds no data that an audit can read; expected files ending in .csv" in nothing.err
    gone = command_line("init", tmp_path / "gone")
    assert gone.err == f"dataaudit: {tmp_path / 'gone'}: there is no such folder\n"
    pd.DataFrame({"x": np.arange(9) * 0.5}).to_csv(tmp_path / "train.csv", index=False)
    unlabelled = command_line("init", tmp_path)
    assert unlabelled.code == 2
    assert unlabelled.err == (
        f"dataaudit: {tmp_path / 'train.csv'}: no column looks like labels; the columns are 'x'; "
        "rename one to 'label', or write audit.yaml by hand\n"
    )


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("train.csv", "train"),
        ("spam_train_v2.parquet", "train"),
        ("data/validation/rows.csv", "held_out"),
        ("held_out.parquet", "held_out"),
        ("test-set.jsonl", "suspects"),
        ("contest.csv", None),
        ("trainings.csv", None),
    ],
)
def test_splits_go_by_whole_words_of_their_names(path: str, role: str | None) -> None:
    assert role_of(Path(path)) == role


HOSTILE_NAMES = [
    "a\nengine: {kind: ray, address: evil}\n#",
    'a\'"""\nimport os\nos.abort()\n',
    "{x} %s \\ \x1b[2J \u2028 \x85 # : - ",
    "\tb: [c, {d: e}] & *f !g",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_nothing_from_a_name_enters_what_is_generated(
    tmp_path: Path, command_line: CommandLine, name: str
) -> None:
    folder = tmp_path / f"project {name}"
    folder.mkdir()
    rows = pd.DataFrame(
        {name: np.arange(60) * 0.5, "label": [name, "b", "c"] * 20, "id": range(60)}
    )
    rows.to_parquet(folder / f"train {name}.parquet", index=False)
    rows.to_json(folder / f"test {name}.jsonl", orient="records", lines=True)
    for number in range(3):
        (folder / f"{number} {name}.pt").touch()
    outcome = command_line("init", folder)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.replace("\n", "").isprintable()
    config = load_config(folder / "audit.yaml")
    assert config.train.path == folder / f"train {name}.parquet"
    assert config.suspects.path == folder / f"test {name}.jsonl"
    assert config.model.weights == folder / f"0 {name}.pt"
    assert sorted(map(str, config.classes)) == sorted([name, "b", "c"])
    assert config.engine.kind == "local"
    tree = ast.parse((folder / "my_model.py").read_text(encoding="utf-8"))
    assert [type(node).__name__ for node in tree.body] == [
        "Expr", "Import", "Assign", "FunctionDef", "FunctionDef",
    ]  # fmt: skip
    assert ast.literal_eval(tree.body[2].value) == [name]


@pytest.mark.parametrize("ending", ["joblib", "pkl"])
def test_a_fitted_pipeline_runs_once_its_maker_is_trusted(
    tmp_path: Path, command_line: CommandLine, ending: str
) -> None:
    import joblib
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    generator = np.random.default_rng(0)
    kinds = generator.choice(["stays", "leaves"], 260)
    frame = pd.DataFrame(
        {
            "age": generator.normal(40, 5, 260) + 9 * (kinds == "stays"),
            "branch": generator.choice(["north", "south"], 260),
            "churn": kinds,
            "colour": generator.choice(["red", "blue", "green"], 260),
        }
    )
    columns = ["age", "branch", "colour"]
    encode = make_column_transformer(
        (StandardScaler(), ["age"]), (OneHotEncoder(), ["branch", "colour"])
    )
    model = make_pipeline(encode, LogisticRegression()).fit(frame[columns], frame["churn"])
    joblib.dump(model, tmp_path / f"model.{ending}")
    frame[:200].to_csv(tmp_path / "train.csv", index=False)
    frame[200:].to_csv(tmp_path / "val.csv", index=False)
    outcome = command_line("init", tmp_path)
    assert outcome.code == 0
    assert "; or are the labels in 'churn', 'branch'?" in outcome.out
    yaml_file = tmp_path / "audit.yaml"
    text = yaml_file.read_text(encoding="utf-8")
    assert "# guessed; or label: 'churn', 'branch'" in text
    assert "preprocess" not in text
    yaml_file.write_text(text.replace("label: colour", "label: churn"), encoding="utf-8")
    sys.modules.pop("my_model", None)
    untrusted = command_line("run", yaml_file, "--out", tmp_path / "audit")
    assert untrusted.code == 2
    assert "set TRUSTED = True in my_model.py" in untrusted.err
    module = tmp_path / "my_model.py"
    source = module.read_text(encoding="utf-8")
    module.write_text(source.replace("TRUSTED = False", "TRUSTED = True"), encoding="utf-8")
    sys.modules.pop("my_model", None)
    ran = command_line("run", yaml_file, "--out", tmp_path / "audit")
    assert (ran.code, ran.err) == (0, "")


def test_the_models_own_class_names_tell_the_label_column(
    tmp_path: Path, command_line: CommandLine
) -> None:
    rows = [
        {"text": f"words {n} of a text", "label": ["a", "b"][n % 2], "mood": ["glad", "sad"][n % 2]}
        for n in range(40)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").touch()
    names = {"id2label": {"0": "sad", "1": "glad"}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(names))
    outcome = command_line("init", tmp_path)
    assert "labels in 'mood', 2 classes; ids are positions); or are the labels in 'label'?" in (
        outcome.out
    )
    assert load_config(tmp_path / "audit.yaml").train.label == "mood"


def test_a_language_model_is_traced(tmp_path: Path, command_line: CommandLine) -> None:
    frame = pd.DataFrame({"document": [f"some words {n} of a text" for n in range(30)]})
    frame.to_json(tmp_path / "train.jsonl", orient="records", lines=True)
    (tmp_path / "gpt").mkdir()
    (tmp_path / "gpt" / "model.safetensors").touch()
    config = {"architectures": ["GPT2LMHeadModel"]}
    (tmp_path / "gpt" / "config.json").write_text(json.dumps(config))
    outcome = command_line("init", tmp_path)
    assert outcome.code == 0
    assert "name in suspects what the model wrote" in outcome.out
    assert f"then dataaudit trace {tmp_path / 'audit.yaml'}" in outcome.out
    found = load_config(tmp_path / "audit.yaml")
    assert (found.task, found.train.text) == ("causal-lm", "document")
    assert found.model.path == tmp_path / "gpt"


def test_what_init_writes_for_a_language_model_runs_to_the_end(
    tmp_path: Path, command_line: CommandLine
) -> None:
    """A tiny GPT-2 with the tokenizer it was saved with, as a user's folder."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    animals, colours = ["cat", "dog", "owl", "hen", "fox"], ["red", "blue", "pink", "gold"]
    rows = [f"the {animal} is {colour}" for animal in animals for colour in colours]
    words = sorted({word for row in rows for word in row.split()})
    known = {word: place for place, word in enumerate(["<unk>", *words])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    folder = tmp_path / "gpt"
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", eos_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(known), n_positions=16, n_embd=16, n_layer=1, n_head=2
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    for name, texts in (("train", rows), ("test", rows[:4])):
        frame = pd.DataFrame({"document": texts})
        frame.to_json(tmp_path / f"{name}.jsonl", orient="records", lines=True)
    started = command_line("init", tmp_path)
    assert (started.code, started.err) == (0, "")
    path = tmp_path / "audit.yaml"
    settings = path.read_text(encoding="utf-8")
    short = "trace: {top: 2, steps: 1, background: 4, calibration: 4}\n"
    path.write_text(f"{settings}{short}", encoding="utf-8")
    traced = command_line("trace", path, "--out", tmp_path / "traced")
    assert (traced.code, traced.err) == (0, "")
    found = pd.read_parquet(tmp_path / "traced" / "contamination.parquet")
    assert found["query_id"].nunique() == 4


def test_hints_lead_to_the_files_from_anywhere(
    project: Project, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.yaml.unlink()
    monkeypatch.chdir(project.folder.parent)
    outcome = command_line("init", project.folder.name)
    assert f"dataaudit run {project.yaml} --out" in outcome.out


def test_pairs_of_answers_run_after_filling_one_function(
    tmp_path: Path, command_line: CommandLine
) -> None:
    generator = np.random.default_rng(0)
    words = {"chosen": ["sure", "first", "then"], "rejected": ["no", "whatever", "hm"]}
    for name, count in (("train", 80), ("dev", 40)):
        rows = [
            {
                "key": f"{name}-{place}",
                "prompt": f"question {place}",
                **{side: " ".join(generator.choice(known, 5)) for side, known in words.items()},
            }
            for place in range(count)
        ]
        pd.DataFrame(rows).to_json(tmp_path / f"{name}.jsonl", orient="records", lines=True)
    outcome = command_line("init", tmp_path)
    assert outcome.out.splitlines()[0] == (
        "train: train.jsonl (80 rows, text; pairs of a chosen and a rejected answer; ids in 'key')"
    )
    code = (
        "import torch\n    torch.manual_seed(0)\n"
        "    count = lambda text: [text.split().count(word) for word in ('sure', 'no', 'hm')]\n"
        "    encode = lambda texts: torch.tensor([count(text) for text in texts]).float()\n"
        "    model = torch.nn.Linear(3, 1)\n"
        "    model.weight.data = torch.tensor([[1.0, -1.0, -1.0]])\n"
        "    return model, encode"
    )
    fill(tmp_path, "load_model", code)
    settings = (tmp_path / "audit.yaml").read_text(encoding="utf-8")
    assert "task: preference\n" in settings
    quick = settings.replace("{kind: auto, seed: 0}", "{steps: 10}")
    (tmp_path / "audit.yaml").write_text(quick, encoding="utf-8")
    ran = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit")
    assert (ran.code, ran.err) == (0, "")


def test_pictures_with_masks_run_after_filling_one_function(
    tmp_path: Path, command_line: CommandLine
) -> None:
    generator = np.random.default_rng(0)
    for split, count in (("train", 60), ("val", 40)):
        for place in range(count):
            mask = np.zeros((8, 8), dtype=np.uint8)
            top, left = generator.integers(0, 4, 2)
            mask[top : top + 4, left : left + 4] = 1
            shades = generator.integers(0, 100, (8, 8)) + mask * 150
            mask[0, 0] = 255
            for name, values in (("images", shades), ("masks", mask)):
                path = tmp_path / split / name / f"{place:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values.astype(np.uint8)).save(path)
    outcome = command_line("init", tmp_path)
    assert outcome.out.splitlines()[0].startswith("train: train (60 rows, image; a mask for each; ")
    settings = (tmp_path / "audit.yaml").read_text(encoding="utf-8")
    assert "task: segmentation\n" in settings
    assert "classes: [class 0, class 1]\n" in settings
    fill(
        tmp_path,
        "build",
        "model = torch.nn.Conv2d(1, 2, 1)\n"
        "    model.weight.data = torch.tensor([-9.0, 9.0]).reshape(2, 1, 1, 1)\n"
        "    model.bias.data = torch.tensor([4.0, -4.0])\n"
        "    return model",
    )
    quick = settings.replace("{kind: auto, seed: 0}", "{steps: 5}")
    (tmp_path / "audit.yaml").write_text(quick, encoding="utf-8")
    ran = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit")
    assert (ran.code, ran.err) == (0, "")


def test_a_coco_file_runs_after_filling_one_function(
    tmp_path: Path, command_line: CommandLine
) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for split, count in (("train", 60), ("val", 40)):
        images, annotations = [], []
        for place in range(count):
            shades = generator.integers(0, 60, (12, 12, 3))
            x, y = 6 * generator.integers(0, 2, 2)
            shades[y : y + 6, x : x + 6] += 180
            name = f"{split}-{place}.png"
            Image.fromarray(shades.astype(np.uint8)).save(tmp_path / "pictures" / name)
            images.append({"id": place, "file_name": name})
            box = [int(x), int(y), 6, 6]
            annotations.append({"id": place, "image_id": place, "category_id": 1, "bbox": box})
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "bright"}],
        }
        (tmp_path / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")
    outcome = command_line("init", tmp_path)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0].startswith(
        "train: instances_train.json (60 rows, image; boxes in each; "
    )
    settings = (tmp_path / "audit.yaml").read_text(encoding="utf-8")
    assert "task: boxes\n" in settings
    assert "images: pictures" in settings
    assert "preprocess" not in settings
    fill(tmp_path, "build", "return Quarters()")
    with (tmp_path / "my_model.py").open("a", encoding="utf-8") as file:
        file.write(
            "\n\nimport torch\n\n\n"
            "class Quarters(torch.nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.scale = torch.nn.Parameter(torch.tensor(20.0))\n\n"
            "    def forward(self, images, targets=None):\n"
            "        means = torch.nn.functional.adaptive_avg_pool2d(torch.stack(images), 2)\n"
            "        scores = (means.mean(1) - 0.5) * self.scale\n"
            "        if self.training:\n"
            "            wanted = torch.zeros_like(scores)\n"
            "            for line, target in enumerate(targets):\n"
            "                x, y = (target['boxes'][:, :2] / 6).long().clamp(0, 1).T\n"
            "                wanted[line, y, x] = 1\n"
            "            loss = torch.nn.functional.binary_cross_entropy_with_logits\n"
            "            return {'loss': loss(scores, wanted)}\n"
            "        return [self.found(each) for each in scores.sigmoid()]\n\n"
            "    def found(self, scores):\n"
            "        y, x = (scores > 0.05).nonzero(as_tuple=True)\n"
            "        corner = 6.0 * torch.stack([x, y], 1)\n"
            "        boxes = torch.cat([corner, corner + 6], 1)\n"
            "        labels = torch.ones_like(x)\n"
            "        return {'boxes': boxes, 'labels': labels, 'scores': scores[y, x]}\n"
        )
    quick = settings.replace("{kind: auto, seed: 0}", "{steps: 5}")
    (tmp_path / "audit.yaml").write_text(quick, encoding="utf-8")
    ran = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit")
    assert (ran.code, ran.err) == (0, "")


def test_instructions_and_answers_are_known_by_their_columns(
    tmp_path: Path, command_line: CommandLine
) -> None:
    row = {"instruction": "Add.", "input": "1 and 2", "output": "3"}
    chat = [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "3"}]
    pd.DataFrame([row] * 30).to_json(tmp_path / "train.jsonl", orient="records", lines=True)
    outcome = command_line("init", tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[0].startswith(
        "train: train.jsonl (30 rows, text; instructions and answers; ids"
    )
    settings = (tmp_path / "audit.yaml").read_text(encoding="utf-8")
    assert "task: instruction\n" in settings
    assert "label: output, prompt: instruction, input: input" in settings
    assert "logits [rows, tokens, vocabulary]" in (tmp_path / "my_model.py").read_text()
    other = tmp_path / "chats"
    other.mkdir()
    pd.DataFrame({"messages": [chat] * 30}).to_json(
        other / "train.jsonl", orient="records", lines=True
    )
    outcome = command_line("init", other)
    assert (outcome.code, outcome.err) == (0, "")
    settings = (other / "audit.yaml").read_text(encoding="utf-8")
    assert "task: instruction\n" in settings
    assert "label: messages" in settings

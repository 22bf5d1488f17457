"""Rows that cannot be used are set aside with a reason, counted and listed, up to a share."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine, Project
from PIL import Image
from torch import nn

import dataaudit
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.set_aside import Kept, without
from dataaudit.errors import DataError
from dataaudit.inputs import Files
from dataaudit.stages.auditing import run_file
from dataaudit.stages.composition import composition


def spoil(project: Project, file: str, row: int, column: str, value: str) -> None:
    table = pd.read_csv(project.folder / file, dtype=str, keep_default_na=False)
    table.loc[row, column] = value
    table.to_csv(project.folder / file, index=False)


def allow(project: Project, share: float) -> None:
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write(f"bad_rows: {{largest_share: {share}}}\n")


def test_bad_rows_are_set_aside_counted_and_listed(
    project: Project, command_line: CommandLine
) -> None:
    spoil(project, "train.csv", 2, "height", "")
    spoil(project, "train.csv", 10, "kind", "banana")
    spoil(project, "train.csv", 399, "kind", "")
    spoil(project, "test.csv", 7, "kind", "cherry")
    spoil(project, "val.csv", 3, "width", "inf")
    allow(project, 0.02)
    out = project.folder / "audit"
    outcome = command_line("run", project.yaml, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert "note: train: 3 of 400 rows could not be used and were set aside" in outcome.out

    mislabels = pd.read_parquet(out / "mislabels.parquet")
    train = pd.read_csv(project.folder / "train.csv")
    assert mislabels["row_id"].tolist() == train["row_id"].tolist()
    lines = mislabels.loc[[2, 10, 399]]
    assert lines["given_label"].tolist()[0] == train["kind"][2]
    assert lines["given_label"].isna().tolist() == [False, True, True]
    assert lines[["suggested_label", "score", "probability"]].isna().all().all()
    assert not lines["flagged"].any()
    assert lines["rank"].tolist() == [398, 399, 400]
    assert sorted(mislabels["rank"]) == list(range(1, 401))
    judged = mislabels.drop([2, 10, 399])
    assert judged["probability"].between(0, 1).all()

    pairs = pd.read_parquet(out / "contamination.parquet")
    assert set(pairs["query_id"]) == set(range(1000, 1120))
    unmatched = pairs[pairs["query_id"] == 1007]
    assert unmatched["row_id"].isna().all()
    assert not unmatched["flagged"].any()

    aside = pd.read_parquet(out / "set_aside.parquet")
    assert aside.to_numpy().tolist() == [
        ["fruit-2", "train", "preprocess returned NaN or infinite values in the input "
         "(missing in the file: height); expected finite numbers"],
        ["fruit-10", "train", "the label 'banana' is not one of the classes"],
        ["fruit-399", "train", "the label is missing"],
        ["3", "held_out",
         "preprocess returned NaN or infinite values in the input; expected finite numbers"],
        ["1007", "suspects", "the label 'cherry' is not one of the classes"],
    ]  # fmt: skip
    report = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    assert report["coverage"]["rows_not_scored"] == 3
    assert report["coverage"]["suspects_not_scored"] == 1
    notes = " ".join(report["coverage"]["notes"])
    assert "fruit-10: the label 'banana' is not one of the classes" in notes
    assert "fruit-10: the label" in (out / "report.html").read_text(encoding="utf-8")
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["inputs"]["train"]["rows_set_aside"] == 3


def test_more_bad_rows_than_stated_stop_the_run(
    project: Project, command_line: CommandLine
) -> None:
    for row in range(5):
        spoil(project, "train.csv", row, "kind", "banana")
    allow(project, 0.01)
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 2
    assert outcome.err == (
        f"dataaudit: {project.folder / 'train.csv'}: 5 of 400 rows cannot be used (1.25%), more "
        "than bad_rows.largest_share allows (1.00%); the first: row 0 (id fruit-0): the label "
        "'banana' is not one of the classes\n"
    )


def test_allowing_bad_rows_changes_nothing_where_there_are_none(
    project: Project, command_line: CommandLine
) -> None:
    assert command_line("run", project.yaml, "--out", project.folder / "strict").code == 0
    allow(project, 0.5)
    assert command_line("run", project.yaml, "--out", project.folder / "lenient").code == 0
    for name in ("mislabels.parquet", "contamination.parquet"):
        strict = (project.folder / "strict" / name).read_bytes()
        assert strict == (project.folder / "lenient" / name).read_bytes()
    assert len(pd.read_parquet(project.folder / "lenient" / "set_aside.parquet")) == 0


def pictures(count: int, seed: int) -> pd.DataFrame:
    """Two classes: bright at the left, bright at the right."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=count)
    rows = []
    for label in labels:
        pixels = generator.integers(0, 80, size=(8, 8), dtype=np.uint8)
        pixels[:, 4 * label : 4 * label + 4] += 150
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        rows.append(file.getvalue())
    return pd.DataFrame({"image": pd.Series(rows, dtype=object), "label": labels})


def test_undecodable_images_are_set_aside() -> None:
    train, held_out = pictures(120, 1), pictures(60, 2)
    whole = train["image"].iloc[7]
    train.at[7, "image"] = whole[: len(whole) // 2]
    train.at[8, "image"] = b"no image at all"
    train.at[9, "image"] = None
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    nn.init.zeros_(module[1].weight)
    arguments = {"model": module, "train": train, "held_out": held_out}
    with pytest.raises(DataError, match=r"the image is damaged"):
        dataaudit.audit(**arguments)
    result = dataaudit.audit(**arguments, bad_rows={"largest_share": 0.05})
    assert result.set_aside["row_id"].tolist() == [7, 8, 9]
    assert (
        result.set_aside["reason"]
        .str.startswith(
            ("the image is damaged", "not an image of a known format", "expected an encoded image")
        )
        .all()
    )
    assert len(result.mislabels) == 120
    assert result.mislabels["probability"].isna().sum() == 3
    assert result.mislabels["given_label"].tolist() == train["label"].tolist()


def test_labels_beyond_the_outputs_and_images_that_are_gone(tmp_path: Path) -> None:
    frame = pictures(80, 3)
    for row, content in enumerate(frame["image"]):
        (tmp_path / f"{row}.png").write_bytes(content)
    table = pd.DataFrame({"image": [f"{row}.png" for row in range(80)], "label": frame["label"]})
    table.loc[5, "label"] = 17
    table.loc[6, "image"] = "gone.png"
    table.loc[7, "image"] = "../outside.png"
    table.to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "picture_model.py").write_text(
        "from torch import nn\n\ndef build():\n"
        "    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))\n"
        "    nn.init.zeros_(model[1].weight)\n    return model\n",
        encoding="utf-8",
    )
    (tmp_path / "audit.yaml").write_text(
        "model: {factory: picture_model:build}\ntrain: {path: train.csv}\n"
        "bad_rows: {largest_share: 0.1}\n",
        encoding="utf-8",
    )
    result = run_file(tmp_path / "audit.yaml", tmp_path / "out")
    reasons = dict(zip(result.set_aside["row_id"], result.set_aside["reason"], strict=True))
    assert reasons[5] == "the label 17 is beyond the model's 2 outputs"
    assert reasons[6].startswith("there is no image 'gone.png' inside")
    assert reasons[7].startswith("there is no image '../outside.png' inside")
    assert len(result.set_aside) == 3
    assert pd.isna(result.mislabels["given_label"][5])


def test_images_of_other_sizes_are_refused_not_set_aside() -> None:
    train = pictures(60, 1)
    file = io.BytesIO()
    Image.new("L", (9, 8)).save(file, "PNG")
    train.at[3, "image"] = file.getvalue()
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(DataError, match="images of several sizes"):
        dataaudit.audit(module, train, bad_rows={"largest_share": 0.5})


def texts(frame: pd.DataFrame) -> torch.Tensor:
    return torch.tensor([[len(text), text.count("a")] for text in frame["text"]]).float() / 40


def test_texts_that_are_too_long_or_missing() -> None:
    generator = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta"]
    frame = pd.DataFrame(
        {
            "text": [" ".join(generator.choice(words, 6)) for _ in range(80)],
            "label": generator.integers(2, size=80),
        }
    )
    frame.loc[4, "text"] = "alpha " * 30
    frame.loc[5, "text"] = None
    module = nn.Linear(2, 2)
    result = dataaudit.audit(
        module, frame, preprocess=texts, bad_rows={"largest_share": 0.1, "longest_text": 100}
    )
    assert result.set_aside.to_numpy().tolist() == [
        [4, "train", "the text has 180 characters, more than 100"],
        [5, "train", "the text is missing"],
    ]
    with pytest.raises(DataError, match="the text has 180 characters, more than 100"):
        dataaudit.audit(module, frame, preprocess=texts, bad_rows={"longest_text": 100})


def test_kept_rows_are_read_like_any_others() -> None:
    frame = pd.DataFrame({"a": np.arange(50.0), "label": np.arange(50) % 2})
    samples = samples_from_object(frame, ReadSettings("train", "label"))
    once = without(samples, dict.fromkeys((0, 10, 11, 12, 13, 49), ""))
    twice = without(once, {0: "", 43: ""})
    expected = [n for n in range(50) if n not in (0, 1, 10, 11, 12, 13, 48, 49)]
    assert isinstance(twice.source, Kept)
    assert twice.ids.tolist() == expected
    for size in (1, 3, 7, 100):
        read = [batch.frame["a"].tolist() for batch in twice.batches(size)]
        assert [value for part in read for value in part] == expected
        assert all(len(part) == size for part in read[:-1])
    assert twice.take([3, 0, 3]).frame["a"].tolist() == [expected[3], expected[0], expected[3]]


def test_labels_that_nobody_set_aside_are_not_counted(tmp_path: Path) -> None:
    # Without a model no row has to be usable.
    (tmp_path / "train.csv").write_text("x,label\n1,ham\n2,\n3,spam\n4,ham\n")
    settings = ReadSettings("train", "label", classes=["ham", "spam"], tolerate=True)
    counts = composition(Files(open_samples(tmp_path / "train.csv", settings), None, None))
    assert counts[["class", "rows"]].to_numpy().tolist() == [["ham", 2], ["spam", 1]]


@pytest.mark.parametrize("settings", [{}, {"bad_rows": {"largest_share": 0.1}}])
@pytest.mark.parametrize("role", ["train", "held_out"])
def test_a_split_of_which_no_row_is_to_be_judged_is_refused(
    role: str, settings: dict[str, object]
) -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(20, 3)).astype(np.float32)
    pictures = torch.rand(20, 1, 8, 8)
    kinds = [
        ("regression", nn.Linear(3, 1), inputs, inputs[:, 0], np.full(20, -100.0), {}),
        ("multi-label", nn.Linear(3, 2), inputs, np.eye(2)[[0, 1] * 10], np.full((20, 2), -100),
         {}),
        ("segmentation", nn.Conv2d(1, 2, 1), pictures, np.zeros((20, 8, 8), dtype=int),
         np.full((20, 8, 8), 255), {"classes": ["a", "b"]}),
    ]  # fmt: skip
    for task, model, given, labels, ignored, more in kinds:
        splits = {"train": (given, labels), "held_out": (given, labels), role: (given, ignored)}
        with pytest.raises(DataError, match=f"{role} .* none of the 20 rows is to be judged; the"):
            dataaudit.audit(
                model, *splits.values(), task=task, ignore_label=-100, **more, **settings
            )

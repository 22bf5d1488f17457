"""Files as people have them: where one is not read, the message says what to change."""

import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.errors import DataError

FRAME = pd.DataFrame(
    {"f0": [0.5, 1.25, 2.0], "f1": [3.5, 0.25, 1.0], "label": ["Äpfel", "Birne", "None"]}
)


def refused(path: Path, classes: list[str | int] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        open_samples(path, ReadSettings("train", "label", classes=classes))
    return str(caught.value)


def test_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    FRAME.to_csv(path, index=False, sep=";", decimal=",")
    message = refused(path)
    assert "the fields seem to be separated by ';'" in message
    assert "save the file with commas between fields, and points in numbers" in message


@pytest.mark.parametrize(
    ("ending", "advice"),
    [
        ("tsv", "save it as .csv with commas, or as .parquet"),
        ("json", "save it as .csv with commas, or as .parquet"),
        ("csv.gz", "unpack it first"),
    ],
)
def test_formats_that_are_not_read(tmp_path: Path, ending: str, advice: str) -> None:
    path = tmp_path / f"t.{ending}"
    path.write_bytes(b"x")
    assert refused(path).endswith(f"; {advice}")


def test_a_folder_of_parts(tmp_path: Path) -> None:
    for part in range(2):
        FRAME.to_parquet(tmp_path / f"train-0000{part}-of-00002.parquet")
    assert refused(tmp_path).endswith("; of the 2 Parquet files in it, name one, or join them "
                                      "into one")  # fmt: skip


def test_letters_composed_otherwise_and_blanks(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    classes: list[str | int] = ["Äpfel", "Birne", "None"]
    written = (
        [unicodedata.normalize("NFD", value) for value in FRAME["label"]],
        ["Äpfel", "Birne ", "None"],
    )
    for labels in written:
        FRAME.assign(label=labels).to_csv(path, index=False)
        samples = open_samples(path, ReadSettings("train", "label", classes=classes))
        assert samples.labels.tolist() == [0, 1, 2]


def test_the_class_none_beside_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    FRAME.assign(label=["None", "1", "2"]).to_csv(path, index=False)
    assert "beside numbers, None in a text file is a missing one" in refused(path, ["None", 1, 2])


def test_a_key_that_stands_twice_in_a_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"x": 1, "label": "a"}\n{"x": 1, "label": "a", "label": "b"}\n')
    assert "line 2: not usable JSON: the key 'label' is given twice" in refused(path)
    path.write_text('{"x": {"y": 1, "y": 2}, "label": "a"}\n')
    assert "the key 'y' is given twice" in refused(path)

"""Files as people have them: where one is not read, the message says what to change."""

import gc
import gzip
import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dataaudit.datasets import files, unpacked
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.comma_separated import CommaSeparated
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.rewriting import write_corrected
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.unpacked import Unpacked
from dataaudit.errors import DataError

FRAME = pd.DataFrame(
    {"f0": [0.5, 1.25, 2.0], "f1": [3.5, 0.25, 1.0], "label": ["Äpfel", "Birne", "None"]}
)


def refused(path: Path, classes: list[str | int] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        open_samples(path, ReadSettings("train", "label", classes=classes))
    return str(caught.value)


def opened(path: Path, label: str = "label", **changes: Any) -> Samples:
    return open_samples(path, ReadSettings("train", label, **{"classes": CLASSES, **changes}))


NUMBERS = pd.DataFrame(
    {
        "x": [1.5, -2.25, 1000.0, 0.5],
        "n": [1, 2, 3, 4],
        "note": ["a;b", 'say "c"', "d\ne", "f,g"],
        "label": ["ham", "spam", "ham", "spam"],
    }
)
CLASSES = ["ham", "spam"]


@pytest.mark.parametrize(
    ("separator", "decimal"), [(";", ","), (";", "."), ("\t", ","), ("|", ".")]
)
def test_other_separators_and_decimal_commas(tmp_path: Path, separator: str, decimal: str) -> None:
    path = tmp_path / "t.csv"
    NUMBERS.to_csv(path, index=False, sep=separator, decimal=decimal)
    samples = opened(path)
    pd.testing.assert_frame_equal(samples.take(range(4)).frame, NUMBERS, check_index_type=False)
    pd.testing.assert_frame_equal(next(samples.source.frames(4)), NUMBERS)
    assert isinstance(samples.source, CommaSeparated)
    said = samples.source.note()
    assert said is not None
    assert said.endswith("decimal commas") == (decimal == ",")


def test_commas_are_the_separator_unless_only_another_parts_the_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,label\n1;5,ham\n2;5,spam\n")
    samples = opened(path)
    assert samples.take([0]).frame["x"].tolist() == ["1;5"]
    assert isinstance(samples.source, CommaSeparated)
    assert samples.source.note() is None


def test_a_word_to_excel_in_the_first_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sep=;\nx;label\n1;ham\n2;spam\n")
    assert "line 1: 'sep=;' is a word to Excel" in refused(path)


def test_numbers_with_points_stay_text_where_others_have_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x;version;label\n1,5;1.10;ham\n2,5;1.2;spam\n")
    frame = opened(path).take([0, 1]).frame
    assert frame["x"].tolist() == [1.5, 2.5]
    assert frame["version"].tolist() == ["1.10", "1.2"]


def test_corrections_keep_separators_and_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('text;y\n"a;b";1,5\nc;2,25\n')
    samples = open_samples(path, ReadSettings("train", "y", task="regression"))
    changes = Changes(np.array([1]), np.array([0]), [3.5])
    written = write_corrected(samples, changes, tmp_path / "new.csv")
    assert written.read_text() == 'text;y\n"a;b";1,5\nc;3,5\n'


@pytest.mark.parametrize("ending", ["tsv", "csv.gz", "tsv.gz", "json", "json.gz", "jsonl.gz"])
def test_the_same_rows_in_every_ending(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    if "json" in ending:
        NUMBERS.to_json(path, orient="records", lines="jsonl" in ending, compression="infer")
    else:
        NUMBERS.to_csv(path, index=False, sep="\t" if "tsv" in ending else ",")
    samples = opened(path)
    assert samples.labels.tolist() == [0, 1, 0, 1]
    taken = samples.take([3, 0]).frame
    pd.testing.assert_frame_equal(taken, NUMBERS.iloc[[3, 0]], check_index_type=False)
    assert samples.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_was_unpacked_goes_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    NUMBERS.to_csv(path, index=False)
    samples = opened(path)
    assert isinstance(samples.source, Unpacked)
    place = samples.source.kept.path
    assert place.is_file()
    del samples
    gc.collect()
    assert not place.exists()


def test_lists_of_objects_longer_than_what_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacked, "_PIECE", 7)
    path = tmp_path / "t.json"
    NUMBERS.to_json(path, orient="records", indent=1)
    taken = opened(path).take(range(4)).frame
    pd.testing.assert_frame_equal(taken, NUMBERS, check_index_type=False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "there are no rows"),
        ('[{"label": "ham"},]', "element 1 is not usable JSON"),
        ('[{"label": "ham"}', "element 0 is not usable JSON, or the list has no end"),
        ('[{"label": "ham"} {"label": "ham"}]', "expected a comma after element 0, found '{'"),
        ('[{"label": "ham"}] 5', "something stands behind the end of the list"),
        ("[7]", "line 1: expected a JSON object {…}, found a number"),
        ("[" * 100_000, "cannot be read as a JSON list of objects"),
    ],
)
def test_lists_that_are_no_lists_of_objects(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(content)
    assert said in refused(path)


def test_gzip_that_holds_too_much_or_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv.gz"
    content = gzip.compress(b"x,label\n" + b"1,ham\n" * 200_000)
    monkeypatch.setattr(files, "SMALL_BYTES", 1000)
    path.write_bytes(content)
    assert "holds more than 100 bytes for each of its own" in refused(path)
    path.write_bytes(gzip.compress(b"x,label\n1,ham\n")[:-9])
    assert "the gzip file is damaged" in refused(path)
    path.write_bytes(b"x,label\n1,ham\n")
    assert "cannot be read as a gzip file" in refused(path)


def parts(folder: Path, name: str = "train", count: int = 2) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{name}-{part:05}-of-{count:05}.parquet" for part in range(count)]
    for path, rows in zip(paths, np.array_split(np.arange(4), count), strict=True):
        NUMBERS.iloc[rows].to_parquet(path, index=False, row_group_size=1)
    return paths


def test_a_folder_of_parts_and_a_pattern_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    parts(folder)
    (folder / "README.md").write_text("about")
    parts(folder / "more", "test")
    for path in (folder, folder / "train-*.parquet"):
        samples = opened(path)
        assert samples.labels.tolist() == [0, 1, 0, 1]
        taken = samples.take([3, 0]).frame
        pd.testing.assert_frame_equal(taken, NUMBERS.iloc[[3, 0]], check_index_type=False)
        assert len(list(samples.source.frames(3))) == 2
    mapped = samples.quick_to_take(tmp_path / "work")
    assert mapped.take([2]).frame["note"].tolist() == ["d\ne"]


def test_parts_of_several_data_sets_and_missing_parts(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first, second = parts(folder)
    parts(folder, "test", 1)
    assert "holds the parts of several data sets" in refused(folder)
    (folder / "test-00000-of-00001.parquet").unlink()
    first.rename(folder / "old")
    assert "train-00000-of-00002.parquet is missing" in refused(folder)
    (folder / "old").rename(first)
    NUMBERS.drop(columns="n").to_parquet(second, index=False)
    assert f"{second.name} has other columns or types than {first.name}" in refused(folder)


def test_corrections_into_a_folder_of_parts(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    parts(folder)
    samples = opened(folder)
    written = write_corrected(samples, Changes(np.array([2]), np.array([1])), tmp_path / "new")
    assert sorted(path.name for path in written.iterdir()) == [
        "train-00000-of-00002.parquet", "train-00001-of-00002.parquet",
    ]  # fmt: skip
    assert opened(written).labels.tolist() == [0, 1, 1, 1]
    named = opened(folder / "train-*.parquet")
    with pytest.raises(DataError, match="not into what a pattern names"):
        write_corrected(named, Changes(np.array([2]), np.array([1])), tmp_path / "other.parquet")


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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json"])
def test_text_in_utf_16_that_says_so(tmp_path: Path, encoding: str, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    text = NUMBERS.to_json(orient="records", lines=ending == "jsonl")
    if ending in ("csv", "tsv"):
        text = NUMBERS.to_csv(index=False, sep="\t" if ending == "tsv" else ";")
    path.write_bytes(("\ufeff" * (encoding == "utf-16-be") + text).encode(encoding))
    samples = opened(path)
    pd.testing.assert_frame_equal(samples.take(range(4)).frame, NUMBERS, check_index_type=False)
    reason = samples.source.why_not_rewritten()
    assert reason is not None
    assert "save it as UTF-8" in reason
    path.write_bytes(path.read_bytes()[:-1])
    assert "cannot be read as text in UTF-16: " in refused(path)


@pytest.mark.parametrize(
    ("orient", "said"),
    [
        ("columns", "holds one object, with rows in 'x'"),
        ("split", "holds one object, with rows in 'data'"),
        ("table", "holds one object, with rows in 'schema'"),
        ("pretty", "line 1: not JSON: "),
        ("values", "line 1: expected a JSON object {…}, found a list"),
    ],
)
def test_json_of_other_shapes_is_refused_with_what_to_write(
    tmp_path: Path, orient: Any, said: str
) -> None:
    path = tmp_path / "t.json"
    if orient == "pretty":
        path.write_text(json.dumps({"data": NUMBERS.to_dict("records")}, indent=2))
    else:
        NUMBERS.to_json(path, orient=orient)
    message = refused(path)
    assert said in message
    assert "orient='records'" in message or orient == "values"
    NUMBERS[:1].to_json(path, orient="records", lines=True)
    assert len(opened(path)) == 1


def test_the_class_none_beside_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    FRAME.assign(label=["None", "1", "2"]).to_csv(path, index=False)
    assert opened(path, classes=["None", 1, 2]).labels.tolist() == [0, 1, 2]


def test_the_same_class_as_number_and_as_text() -> None:
    mixed = FRAME.assign(label=[0, "1", 1])
    samples = samples_from_object(mixed, ReadSettings("train", "label"))
    assert samples.labels.tolist() == [0, 1, 1]
    assert list(samples.classes) == [0, 1]


def test_a_key_that_stands_twice_in_a_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"x": 1, "label": "a"}\n{"x": 1, "label": "a", "label": "b"}\n')
    assert "line 2: not usable JSON: the key 'label' is given twice" in refused(path)
    path.write_text('{"x": {"y": 1, "y": 2}, "label": "a"}\n')
    assert "the key 'y' is given twice" in refused(path)

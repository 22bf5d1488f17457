"""Data as programs and people leave it: other line ends, types, names and links than most have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
from PIL import Image

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.rewriting import write_corrected
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.set_aside import bad_labels
from dataaudit.datasets.shard_paths import shard_paths
from dataaudit.errors import DataError
from dataaudit.labels import tags


def read(given: Any, label: Any = "label", **settings: Any) -> Samples:
    known = ReadSettings("train", label, **settings)
    return (
        open_samples(given, known) if isinstance(given, Path) else samples_from_object(given, known)
    )


@pytest.mark.parametrize("ends", [(b"\r", b"\r"), (b"\r", b"\n"), (b"\n", b"\r"), (b"\r\n", b"\r")])
def test_carriage_returns_alone_end_records(tmp_path: Path, ends: tuple[bytes, bytes]) -> None:
    """After the names, too: what follows them is a row, and none is lost."""
    first, other = ends
    path = tmp_path / "train.csv"
    path.write_bytes(b'"size\rof it",label' + first + other.join([b"1,0", b"2,1", b"3,0", b""]))
    samples = read(path)
    assert samples.labels.tolist() == [0, 1, 0]
    assert samples.take([2, 0]).frame["size\rof it"].tolist() == [3, 1]
    written = write_corrected(samples, Changes.of({1: 0}), tmp_path / "new.csv")
    assert written.read_bytes() == path.read_bytes().replace(b"2,1", b"2,0")


@pytest.mark.parametrize("kind", ["map", "list view", "large list view"])
def test_nested_columns_of_every_kind_are_measured(tmp_path: Path, kind: str) -> None:
    columns = {
        "map": pa.array([[("k", 1)], [], [("l", 2), ("m", 3)]], pa.map_(pa.string(), pa.int64())),
        "list view": pa.array([[1], [], None], pa.list_view(pa.int64())),
        "large list view": pa.array([[1], [], None], pa.large_list_view(pa.int64())),
    }
    table = pa.table({"x": [0.1, 0.2, 0.3], "nested": columns[kind], "label": [0, 1, 0]})
    with (
        pa.OSFile(str(tmp_path / "train.arrow"), "wb") as file,
        pyarrow.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)
    assert read(tmp_path / "train.arrow").labels.tolist() == [0, 1, 0]
    if kind == "map":
        pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
        found = read(tmp_path / "train.parquet").take([2]).frame["nested"].iloc[0]
        assert list(found) == [("l", 2), ("m", 3)]


@pytest.mark.parametrize("kind", ["object", "string", "string[pyarrow]", "category"])
def test_a_missing_text_turns_no_texts_into_a_table(kind: str) -> None:
    texts = [f"the text number {number} of many" for number in range(5)] + [None]
    frame = pd.DataFrame({"message": pd.array(texts, dtype=kind), "label": [0, 1] * 3})
    samples = read(frame)
    assert (samples.modality, samples.content_column) == ("text", "message")


@pytest.mark.parametrize("index", [[2**70, 1, 2], pd.Index([2**63 + 5, 1, 2], dtype="uint64")])
def test_an_index_beyond_64_bits_names_no_rows(index: Any) -> None:
    frame = pd.DataFrame({"x": [0.1, 0.2, 0.3], "label": [0, 1, 0]}, index=index)
    assert read(frame).ids.tolist() == [0, 1, 2]


def test_ids_of_32_bit_floats_are_refused_where_these_run_together() -> None:
    frame = pd.DataFrame({"key": np.array([1, 2**24 + 2], np.float32), "label": [0, 1]})
    with pytest.raises(DataError, match="row 1: ids must be whole numbers"):
        read(frame, id_column="key")
    assert read(frame.assign(key=[1.0, 2**24 + 2]), id_column="key").ids.tolist() == [1, 2**24 + 2]


def test_an_index_of_numbers_and_texts_in_two_orders_is_refused() -> None:
    inputs = pd.DataFrame({"x": [0.1, 0.2, 0.3]}, index=[1, "b", 3.5])
    with pytest.raises(DataError, match="the same index in two orders"):
        read((inputs, pd.Series([0, 1, 0], index=["b", 1, 3.5])))


def test_a_folder_of_a_class_whose_name_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    for folder in ("cat", os.fsdecode(b"\xffdog")):
        (tmp_path / "pets" / folder).mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "pets" / "cat" / "1.png")
    with pytest.raises(DataError, match="is not UTF-8; rename it"):
        read(tmp_path / "pets")


def test_what_is_no_file_of_the_folder_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("mine")
    pets = tmp_path / "pets"
    for name in ("cat/1.png", "dog/1.png", "dog/2.png"):
        (pets / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), len(name)).save(pets / name)
    (pets / "dog" / "about.txt").write_text("two dogs")
    (pets / "cat" / "notes.txt").symlink_to(tmp_path / "secret.txt")
    (pets / "cat" / "gone.txt").symlink_to("nowhere")
    os.mkfifo(pets / "cat" / "pipe.txt")
    written = write_corrected(read(pets), Changes.of({2: 0}), tmp_path / "new")
    names = sorted(path.relative_to(written).as_posix() for path in written.rglob("*.*"))
    assert names == ["cat/1.png", "cat/2.png", "dog/1.png", "dog/about.txt"]


def test_the_form_of_labels_is_that_of_the_first_that_says_something(tmp_path: Path) -> None:
    lines = tmp_path / "train.jsonl"
    lines.write_text('{"x": 1, "label": null}\n{"x": 2, "label": "no"}\n')
    samples = read(lines, classes=["no", "yes"], tolerate=True)
    written = write_corrected(samples, Changes.of({1: 1}), tmp_path / "new.jsonl")
    assert written.read_text() == lines.read_text().replace('"no"', '"yes"')
    sets = {"task": "multi-label", "classes": ["p", "q"], "tolerate": True}
    lines.write_text('{"x": 1, "label": null}\n{"x": 2, "label": "p|q"}\n')
    written = write_corrected(
        read(lines, **sets), Changes.to_values({1: ("p",)}), tmp_path / "2.jsonl"
    )
    assert written.read_text() == lines.read_text().replace('"p|q"', '"p"')
    table = tmp_path / "train.csv"
    table.write_text('x,label\n1,\n2,"[""p"", ""q""]"\n')
    written = write_corrected(
        read(table, **sets), Changes.to_values({1: ("p",)}), tmp_path / "2.csv"
    )
    assert written.read_text() == 'x,label\n1,\n2,"[""p""]"\n'


def test_a_label_to_ignore_is_found_in_any_of_several_columns() -> None:
    """Beside a missing value, which makes numbers with a fraction of whole ones, as well."""
    frame = pd.DataFrame({"x": [1, 2, 3, 4], "p": [1, -1, None, 5], "q": [0, 0, 1, -1]})
    samples = read(frame, ["p", "q"], task="multi-label", ignore=-1, tolerate=True)
    assert samples.labels.tolist() == [[1, 0], [-2, -2], [-1, -1], [-2, -2]]
    assert read(frame.drop(2), ["p", "q"], task="multi-label", ignore=-1).labels.min() == -2


def test_lists_without_end_are_no_labels() -> None:
    frame = pd.DataFrame({"x": [1, 2], "label": ["[" * 200_000, "p|q"]})
    samples = read(frame, task="multi-label", classes=["p", "q"], tolerate=True)
    assert samples.labels.tolist() == [[-1, -1], [1, 1]]
    with pytest.raises(DataError, match=r"row 0 \(id 0\): found '\[\["):
        read(frame, task="multi-label", classes=["p", "q"])


def test_a_value_to_ignore_in_masks_may_be_a_number_or_a_name() -> None:
    frame = pd.DataFrame({"x": [1], "label": [np.array([[0, 7], [255, 1]])]})
    for ignore, expected in ((7, [0, -100, -100, 1]), ("7", [0, -100, -100, 1])):
        samples = read(frame, task="segmentation", classes=["a", "b"], ignore=ignore)
        assert samples.labels.ravel().tolist() == expected
    with pytest.raises(DataError, match="the pixel value 7"):
        read(frame, task="segmentation", classes=["a", "b"], ignore="void")


def test_one_row_of_very_many_tags_is_named_before_memory_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tags, "MOST_VALUES", 20)
    frame = pd.DataFrame({"words": [["a"], ["b"] * 11], "label": [[0], [0, 1] * 5 + [0]]})
    with pytest.raises(DataError, match="row 1: 11 tags; each of 2 rows takes as much room"):
        read(frame, task="token-classification", classes=["O", "B"])
    assert read(frame[:1], task="token-classification", classes=["O", "B"]).labels.shape == (1, 1)


def test_a_pattern_means_no_hidden_files_and_has_an_end(tmp_path: Path) -> None:
    for name in ("a-1.tar", "a-2.tar", "._a-1.tar", "_old.tar"):
        (tmp_path / name).write_bytes(b"")
    found = shard_paths(tmp_path / "*.tar")
    assert found is not None
    assert [path.name for path in found] == ["a-1.tar", "a-2.tar"]
    assert [path.name for path in shard_paths(tmp_path / "._*.tar") or []] == ["._a-1.tar"]
    with pytest.raises(DataError, match="means more than"):
        shard_paths(tmp_path / ("{a,a}" * 40 + ".tar"))


def test_reasons_of_bad_labels_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = read(
        pd.DataFrame({"x": range(700), "label": ["no"] + ["maybe"] * 699}),
        classes=["no", "yes"],
        tolerate=True,
    )
    asked: list[int] = []
    take = samples.source.take
    monkeypatch.setattr(
        type(samples.source), "take", lambda own, rows: asked.append(len(rows)) or take(rows)
    )
    reasons = bad_labels(samples)
    assert sorted(reasons) == list(range(1, 700))
    assert set(reasons.values()) == {"the label 'maybe' is not one of the classes"}
    assert max(asked) <= 256

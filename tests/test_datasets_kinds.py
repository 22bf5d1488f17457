"""Arrow files, image folders, Hugging Face data sets, pairs in memory, and what rows hold."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
import torch
from PIL import Image
from reading import message, object_message, opened, taken

from dataaudit.datasets.images import decode, thumbnail
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError


def png(shade: int, size: tuple[int, int] = (4, 3), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, shade).save(file, "PNG")
    return file.getvalue()


def whole(samples: Samples, rows: int = 2) -> pd.DataFrame:
    return pd.concat(list(samples.source.frames(rows)))


# --- Arrow ---------------------------------------------------------------------------------------

TABLE = pa.table(
    {
        "text": pa.array(["a", None, "c", "d"]).dictionary_encode(),
        "count": pa.array([1, 2, None, 4], pa.int16()),
        "yes": [True, None, False, True],
        "label": [0, 1, 1, 0],
    }
)


def write_stream(path: Path, table: pa.Table, rows: int = 3) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)


@pytest.mark.parametrize("kind", ["feather", "stream", "parquet"])
def test_arrow_columns_become_ordinary_pandas_alike_in_every_block(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / {"feather": "a.feather", "stream": "a.arrow", "parquet": "a.parquet"}[kind]
    if kind == "feather":
        pyarrow.feather.write_feather(TABLE, str(path), chunksize=3)
    elif kind == "stream":
        write_stream(path, TABLE)
    else:
        pyarrow.parquet.write_table(TABLE, path, row_group_size=3)
    samples = opened(path)
    frame = whole(samples)
    expected = pd.DataFrame(
        {
            "text": pd.Series(["a", None, "c", "d"], dtype=pd.Series([""]).dtype),
            "count": [1.0, 2.0, np.nan, 4.0],
            "yes": pd.Series([True, None, False, True], dtype=object),
            "label": [0, 1, 1, 0],
        }
    )
    pd.testing.assert_frame_equal(frame, expected)
    for part in samples.source.frames(1):
        assert (part.dtypes == expected.dtypes).all()
    pd.testing.assert_frame_equal(
        samples.take([3, 1, 1]).frame, expected.iloc[[3, 1, 1]], check_index_type=False
    )
    assert samples.classes == [0, 1]


def test_an_index_without_a_name_is_no_column(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"x": [1, 2], "label": [0, 1]}, index=[5, 3]).to_parquet(path)
    assert list(whole(opened(path)).columns) == ["x", "label"]


# --- image folders -------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    for name, shade in {"dog/b.png": 10, "dog/a.png": 20, "cat/deep/c.PNG": 30}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(shade))
    (folder / "dog" / "notes.txt").write_text("not an image")
    (folder / ".DS_Store").write_bytes(b"\0")
    return folder


def test_image_folder(images: Path) -> None:
    samples = opened(images)
    frame = whole(samples)
    assert frame["path"].tolist() == ["cat/deep/c.PNG", "dog/a.png", "dog/b.png"]
    assert frame["image"].tolist() == [png(30), png(20), png(10)]
    assert frame["label"].tolist() == ["cat", "dog", "dog"]
    assert samples.classes == ["cat", "dog"]
    assert samples.labels.tolist() == [0, 1, 1]
    assert (samples.modality, samples.content_column) == ("image", "image")
    assert samples.take([2, 0]).frame["path"].tolist() == ["dog/b.png", "cat/deep/c.PNG"]
    before = samples.sha256
    (images / "dog" / "a.png").write_bytes(png(21))
    assert opened(images).sha256 != before


def test_image_folder_in_the_order_of_given_classes(images: Path) -> None:
    samples = opened(images, classes=["dog", "bird", "cat"], id_column="path")
    assert samples.labels.tolist() == [2, 0, 0]
    assert samples.ids.tolist() == ["cat/deep/c.PNG", "dog/a.png", "dog/b.png"]


def test_a_class_without_images_keeps_its_place(images: Path) -> None:
    (images / "ape").mkdir()
    samples = opened(images)
    assert samples.classes == ["ape", "cat", "dog"]
    assert samples.labels.tolist() == [1, 2, 2]


def test_folder_without_images(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    (folder / "dog").mkdir(parents=True)
    assert message(folder) == (
        "/pets: the folder holds no images; expected pets/class_name/*.png (or .jpg, .jpeg, .jpe,"
        " .jfif, .gif, .bmp, .webp, .tif, .tiff), or a data set saved by Hugging Face datasets"
        " (save_to_disk)"
    )


def test_image_beside_the_class_folders(images: Path) -> None:
    (images / "x.jpg").write_bytes(b"")
    assert message(images) == (
        "/pets: x.jpg lies beside the class folders; expected pets/class_name/x.jpg"
    )


def test_links_out_of_the_image_folder_are_refused(images: Path) -> None:
    secret = images.parent / "secret.png"
    secret.write_bytes(png(1))
    link = images / "dog" / "z.png"
    link.symlink_to(secret)
    assert message(images) == ("/pets: dog/z.png is a link that leads nowhere or out of the folder")
    link.unlink()
    link.symlink_to("a.png")
    assert len(opened(images)) == 4
    link.unlink()
    (images / "all").symlink_to(images, target_is_directory=True)
    assert message(images) == "/pets: all is a link to a folder; such links are not followed"


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_file_name_that_is_not_utf8(images: Path) -> None:
    (Path(os.fsdecode(os.fsencode(images) + b"/dog/\xff.png"))).write_bytes(png(1))
    assert "is not UTF-8; rename it" in message(images)


# --- Hugging Face --------------------------------------------------------------------------------


def save_like_hugging_face(folder: Path) -> Path:
    """Write what `datasets` 4 writes for 5 rows in two shards, without importing it."""
    folder.mkdir()
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    for shard, shades in enumerate([[0, 1, 2], [3, 4]]):
        table = pa.table(
            {
                "image": pa.array([{"bytes": png(s), "path": f"{s}.png"} for s in shades], image),
                "label": pa.array([s % 2 for s in shades], pa.int64()),
            }
        )
        write_stream(folder / f"data-0000{shard}-of-00002.arrow", table, rows=2)
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["zebra", "ant"], "_type": "ClassLabel"},
    }
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    names = [{"filename": f"data-0000{shard}-of-00002.arrow"} for shard in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": names, "_split": None}))
    return folder


def test_saved_hugging_face_data_set(tmp_path: Path) -> None:
    samples = opened(save_like_hugging_face(tmp_path / "pets"))
    assert samples.classes == ["zebra", "ant"]
    assert samples.labels.tolist() == [0, 1, 0, 1, 0]
    assert (samples.modality, samples.content_column) == ("image", "image")
    frame = whole(samples)
    assert frame["image"][3] == {"bytes": png(3), "path": "3.png"}
    assert frame["label"].tolist() == [0, 1, 0, 1, 0]
    assert samples.take([4, 0]).frame["image"][4]["bytes"] == png(4)
    swapped = opened(tmp_path / "pets", classes=["ant", "zebra"])
    assert swapped.labels.tolist() == [1, 0, 1, 0, 1]
    numbered = opened(tmp_path / "pets", classes=[1, 0])
    assert numbered.labels.tolist() == [1, 0, 1, 0, 1]


def test_saved_splits_and_files_outside_are_refused(tmp_path: Path) -> None:
    folder = save_like_hugging_face(tmp_path / "pets")
    (tmp_path / "other.arrow").write_bytes((folder / "data-00000-of-00002.arrow").read_bytes())
    (folder / "state.json").write_text('{"_data_files": [{"filename": "../other.arrow"}]}')
    assert message(folder) == "/pets: there is no data file '../other.arrow' in the folder"
    (folder / "state.json").write_text("{")
    assert message(folder).startswith("/pets: cannot be read as a saved data set (state.json): ")
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert message(folder) == (
        "/pets: holds the splits train, test; give the path of one, for example /pets/train"
    )


class _Feature:
    names = ("zebra", "ant")


class _DataSet:
    """As much of `datasets.Dataset` as is used."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.features = {"label": _Feature(), "text": None}
        self.column_names = table.column_names

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def with_format(self, kind: str) -> _DataSet:
        assert kind == "arrow"
        return self

    def select_columns(self, names: list[str]) -> _DataSet:
        return _DataSet(self.table.select(names))

    def __getitem__(self, rows: slice | list[int]) -> pa.Table:
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            return self.table.slice(start, stop - start)
        return self.table.take(rows)


def test_hugging_face_data_set_in_memory() -> None:
    table = pa.table({"text": ["a b c d e", "f", "g"], "label": [0, None, 1]})
    samples = taken(_DataSet(table.slice(0, 1)))
    assert samples.classes == ["zebra", "ant"]
    assert samples.source.description == "train (_DataSet)"
    assert (samples.modality, samples.content_column) == ("text", "text")
    assert object_message(_DataSet(table)) == (
        "train (_DataSet): column 'label': row 1: the label is missing (1 such row); expected one"
        " in every row"
    )
    three = taken(_DataSet(table.set_column(1, "label", pa.array([0, 1, 1]))))
    assert three.take([2, 0]).frame["text"].tolist() == ["g", "a b c d e"]
    assert whole(three)["label"].tolist() == [0, 1, 1]


# --- torch and NumPy -----------------------------------------------------------------------------


def test_torch_data_set() -> None:
    inputs = torch.arange(12.0).reshape(4, 3)
    data_set = torch.utils.data.TensorDataset(inputs, torch.tensor([0, 2, 1, 0]))
    samples = taken(data_set)
    assert samples.classes == [0, 1, 2]
    assert samples.labels.tolist() == [0, 2, 1, 0]
    assert (samples.modality, samples.content_column) == ("tensor", "input")
    assert samples.label_column is None
    batches = list(samples.batches(3))
    assert [len(batch) for batch in batches] == [3, 1]
    assert torch.equal(torch.stack(list(batches[0].frame["input"])), inputs[:3])
    assert torch.equal(samples.take([2]).frame["input"][2], inputs[2])
    assert samples.sha256 == taken(data_set).sha256


def test_pair_of_arrays() -> None:
    inputs = np.arange(6).reshape(3, 2)
    samples = taken((inputs, np.array([1.5, 2.0, 3.0])), task="regression")
    assert samples.labels.tolist() == [1.5, 2.0, 3.0]
    assert samples.classes == []
    assert samples.take([1]).frame["input"][1].tolist() == [2, 3]
    assert object_message((inputs, np.array([1, 2]))) == (
        "train: expected as many labels as inputs, found 3 inputs and 2 labels"
    )


def test_names_of_a_torchvision_data_set() -> None:
    class Named(torch.utils.data.TensorDataset):
        classes = ["ant", "zebra"]  # noqa: RUF012

    data_set = Named(torch.zeros(2, 3), torch.tensor([1, 0]))
    assert taken(data_set).classes == ["ant", "zebra"]
    assert taken(data_set, classes=["zebra", "ant"]).labels.tolist() == [0, 1]


def test_items_that_are_no_pairs() -> None:
    assert object_message([(1, 2), (1, 2, 3)]) == (
        "train (list): item 1: expected a pair (input, label), found 3 values"
    )
    assert object_message([{"x": 1}]) == (
        "train (list): item 0: expected a pair (input, label), found dict"
    )
    assert object_message([(1, torch.zeros(2))]) == (
        "train (list): item 0: expected one label, found an array of shape (2,)"
    )


def test_broken_data_set() -> None:
    class Broken(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, position: int) -> Any:
            raise ZeroDivisionError("no")

    assert object_message(Broken()) == "train (Broken): item 0: ZeroDivisionError: no"


def test_objects_that_are_no_data() -> None:
    assert object_message("rows.csv").endswith("found str")
    assert "found list_iterator, which can be read only once" in object_message(iter([]))


# --- what rows hold ------------------------------------------------------------------------------


def modality(frame: pd.DataFrame) -> tuple[str, str | None]:
    samples = taken(frame.assign(label=[0] * len(frame)))
    return samples.modality, samples.content_column


def test_modality() -> None:
    prose = ["this is a longer text", "and here another one", "b"]
    assert modality(pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})) == ("table", None)
    assert modality(pd.DataFrame({"body": prose, "lang": ["en"] * 3})) == ("text", "body")
    assert modality(pd.DataFrame({"name": ["Ann", "Bob", "Cyd"]})) == ("text", "name")
    assert modality(pd.DataFrame({"body": prose, "title": prose})) == ("table", None)
    many = pd.DataFrame({"body": prose} | {f"x{i}": [1, 2, 3] for i in range(4)})
    assert modality(many) == ("table", None)
    assert modality(pd.DataFrame({"x": [1, 2], "png": [png(1), None]})) == ("image", "png")
    assert modality(pd.DataFrame({"raw": [b"\0\1", b"\2"]})) == ("table", None)


def test_paths_of_images_beside_the_data_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(9))
    path = tmp_path / "rows.csv"
    path.write_text("file,label\na.png,0\nb.png,1\n")
    samples = opened(path)
    assert (samples.modality, samples.content_column) == ("image", "file")
    assert samples.folder == tmp_path
    assert decode("a.png", where="x", folder=samples.folder).size == (4, 3)
    before = samples.sha256
    (tmp_path / "b.png").write_bytes(png(8))
    assert opened(path).sha256 != before
    (tmp_path / "sub").mkdir()
    moved = tmp_path / "sub" / "rows.csv"
    moved.write_text("file,label\n../a.png,0\n../b.png,1\n")
    assert opened(moved).modality != "image"


# --- images --------------------------------------------------------------------------------------


def image_message(value: Any, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        decode(value, where="rows.parquet: row 3", **changes)
    return str(caught.value)


def test_images_that_cannot_be_decoded(tmp_path: Path) -> None:
    assert image_message(b"<svg/>") == (
        "rows.parquet: row 3: not an image of a known format (PNG, JPEG, GIF, BMP, WEBP, TIFF)"
    )
    assert image_message(None) == ("rows.parquet: row 3: expected an encoded image, found NoneType")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8))
    file = io.BytesIO()
    noise.save(file, "PNG")
    assert image_message(file.getvalue()[:300]).startswith(
        "rows.parquet: row 3: the image is damaged: "
    )
    assert image_message("../x.png", folder=tmp_path) == (
        f"rows.parquet: row 3: there is no image '../x.png' inside {tmp_path}"
    )
    assert image_message("x.png") == "rows.parquet: row 3: expected an encoded image, found str"


def test_image_bombs_are_refused_before_they_are_decoded() -> None:
    bomb = png(0, size=(10_000, 10_000), mode="1")
    assert len(bomb) < 20_000
    assert image_message(bomb) == (
        "rows.parquet: row 3: the image has 10000 x 10000 pixels; at most 64000000 are read"
    )
    assert "pixels" in image_message(png(0, size=(20_000, 20_000), mode="1"))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_thumbnails_of_every_mode(mode: str) -> None:
    image = Image.fromarray(np.arange(60 * 90, dtype=np.uint16).reshape(60, 90))
    image = image if mode == "I;16" else Image.fromarray(np.asarray(image) // 30).convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF")
    uri = thumbnail({"bytes": file.getvalue(), "path": None}, where="x")
    assert uri.startswith("data:image/webp;base64,UklGR")
    assert len(uri) < 3000


def test_a_data_loader_gives_the_rows_of_its_data_set() -> None:
    from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

    inputs, labels = torch.arange(12.0).reshape(6, 2), torch.tensor([0, 1, 0, 1, 1, 0])
    rows = TensorDataset(inputs, labels)

    for loader in (DataLoader(rows, batch_size=4), DataLoader(rows, shuffle=True)):
        samples = taken(loader)
        assert samples.labels.tolist() == labels.tolist()
        assert torch.equal(samples.take([5]).frame["input"].iloc[0], inputs[5])
    with pytest.raises(DataError, match=r"joins rows by its own function <lambda>; pass load"):
        taken(DataLoader(rows, collate_fn=lambda pairs: pairs))
    with pytest.raises(DataError, match="draws its rows by SubsetRandomSampler, so that some may"):
        taken(DataLoader(rows, sampler=SubsetRandomSampler([0, 1])))

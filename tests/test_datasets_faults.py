"""Damaged files of every kind are refused with a `DataError`, or read; nothing else happens."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dataaudit.datasets.formats import open_source
from dataaudit.datasets.images import decode, thumbnail
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.errors import DataError

ROWS = 40


def table() -> pa.Table:
    generator = np.random.default_rng(0)
    missing = [None if row % 7 == 0 else row for row in range(ROWS)]
    return pa.table(
        {
            "text": [f"row {row} says {'é' * (row % 5)}" for row in range(ROWS)],
            "kind": pa.array(["a", "b"] * (ROWS // 2)).dictionary_encode(),
            "number": generator.normal(size=ROWS),
            "count": pa.array(missing, pa.int32()),
            "raw": pa.array([bytes([row] * (row % 4)) for row in range(ROWS)]),
            "list": pa.array([[row] * (row % 3) for row in range(ROWS)]),
            "when": pa.array(range(ROWS), pa.timestamp("us")),
            "label": [row % 2 for row in range(ROWS)],
        }
    )


def encoded_image(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


def write_stream(path: Path, rows: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=9)


def write(kind: str, folder: Path) -> tuple[Path, Path]:
    """Return the path to open and the file to damage."""
    path = folder / kind
    plain = table().drop_columns(["raw", "list"])
    if kind == "rows.csv":
        plain.to_pandas().to_csv(path, index=False)
    elif kind == "rows.jsonl":
        plain.to_pandas().to_json(path, orient="records", lines=True, date_format="iso")
    elif kind.endswith(".parquet"):
        compression = "zstd" if kind.startswith("zstd") else "none"
        pyarrow.parquet.write_table(table(), path, row_group_size=9, compression=compression)
    elif kind.endswith(".feather"):
        compression = "lz4" if kind.startswith("lz4") else "uncompressed"
        pyarrow.feather.write_feather(table(), str(path), compression, chunksize=9)
    elif kind == "stream.arrow":
        write_stream(path, table())
    elif kind == "saved":
        path.mkdir()
        write_stream(path / "data.arrow", table())
        names = {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}
        (path / "dataset_info.json").write_text(json.dumps({"features": names}))
        (path / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
        return path, path / "state.json"
    return path, path


KINDS = [
    "rows.csv",
    "rows.jsonl",
    "plain.parquet",
    "zstd.parquet",
    "plain.feather",
    "lz4.feather",
    "stream.arrow",
    "saved",
]


def damaged(content: bytes, cut: float | None, flips: list[tuple[float, int]]) -> bytes:
    changed = bytearray(content if cut is None else content[: int(cut * len(content))])
    for place, bit in flips:
        if changed:
            changed[int(place * len(changed)) % len(changed)] ^= 1 << bit
    return bytes(changed)


def read_all(path: Path) -> Iterator[pd.DataFrame]:
    samples = open_samples(path, ReadSettings("train", "label"))
    for batch in samples.batches(16):
        yield batch.frame
    yield samples.take([len(samples) - 1, 0]).frame


@contextmanager
def refused_or_read(start: str) -> Iterator[None]:
    """Allow a `DataError` that names what cannot be used, and no other exception."""
    try:
        yield
    except DataError as error:
        if not str(error).startswith(start):
            raise AssertionError(f"{error} does not start with {start}") from error


PLACES = st.floats(0, 1, exclude_max=True)
DAMAGE = st.one_of(
    st.tuples(PLACES, st.just([])),
    st.tuples(st.none(), st.lists(st.tuples(PLACES, st.integers(0, 7)), min_size=1, max_size=3)),
    # Where formats keep their directories.
    st.tuples(
        st.none(),
        st.lists(st.tuples(st.floats(0.8, 1, exclude_max=True), st.integers(0, 7)), min_size=1),
    ),
)
FUZZING = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


@pytest.mark.parametrize("kind", KINDS)
@FUZZING
@given(damage=DAMAGE)
def test_damaged_file(
    tmp_path: Path, kind: str, damage: tuple[float | None, list[tuple[float, int]]]
) -> None:
    folder = tmp_path / "again"
    folder.mkdir()
    try:
        path, file = write(kind, folder)
        file.write_bytes(damaged(file.read_bytes(), *damage))
        with refused_or_read(str(folder)):
            for frame in read_all(path):
                # What is handed on can be looked at.
                repr(frame)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["plain.parquet", "plain.feather", "stream.arrow"])
def test_no_way_of_reading_lets_damaged_text_through(tmp_path: Path, kind: str) -> None:
    path, file = write(kind, tmp_path)
    whole = file.read_bytes()
    ways: list[Callable[[Any], Any]] = [
        lambda source: [repr(frame) for frame in source.stream(["text"])],
        lambda source: [repr(frame) for frame in source.stream()],
        lambda source: [repr(frame) for frame in source.frames_from(20, 7)],
        lambda source: repr(source.take([38, 1])),
        lambda source: repr(source.quick_to_take(tmp_path).take([38, 1])),
    ]
    refused = [0] * len(ways)
    # Text that is not UTF-8 has the file opened all the same: its columns are looked at later.
    for text in list(re.finditer(b"says", whole))[::5]:
        file.write_bytes(damaged(whole, None, [((text.start() + 0.5) / len(whole), 7)]))
        try:
            source = open_source(path)
        except DataError:
            continue
        for number, read in enumerate(ways):
            refused[number] += not read_of(str(path), read, source)
    assert min(refused) > 0


def read_of(start: str, read: Callable[[Any], Any], source: Any) -> bool:
    """Tell whether something can be read, rather than refused."""
    with refused_or_read(start):
        read(source)
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_undamaged_file(tmp_path: Path, kind: str) -> None:
    path, _ = write(kind, tmp_path)
    *frames, two = read_all(path)
    assert sum(map(len, frames)) == ROWS
    assert two["text"].tolist() == ["row 39 says éééé", "row 0 says "]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
@FUZZING
@given(damage=DAMAGE)
def test_damaged_image(kind: str, damage: tuple[float | None, list[tuple[float, int]]]) -> None:
    content = damaged(encoded_image(kind), *damage)
    for read in (decode, thumbnail):
        with refused_or_read("row 3: "):
            read(content, where="row 3")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rows.parquet", "/rows.parquet: cannot be read as a Parquet file: "),
        ("rows.feather", "/rows.feather: cannot be read as an Arrow file or stream: "),
        ("rows.arrow", "/rows.arrow: cannot be read as an Arrow file or stream: "),
        ("rows.csv", "/rows.csv: line 1: byte 0x93 at column 1 is not UTF-8; save the file as"),
        ("rows.jsonl", "/rows.jsonl: line 1: byte 0x93 at column 1 is not UTF-8; save the file"),
        ("rows.xlsx", "/rows.xlsx: files ending in '.xlsx' are not supported; expected one of"),
        ("rows", "/rows: files without an ending are not supported; expected one of .csv, .tsv,"),
    ],
)
def test_file_of_another_kind(tmp_path: Path, name: str, expected: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x93NUMPY\x01\x00 something else")
    with pytest.raises(DataError) as caught:
        list(read_all(path))
    assert str(caught.value).replace(str(tmp_path), "").startswith(expected)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "saved"])
def test_empty_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        list(read_all(path))
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "saved"])
def test_file_without_rows(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = table().slice(0, 0)
    monkeypatch.setitem(globals(), "table", lambda: nothing)
    path, _ = write(kind, tmp_path)
    with pytest.raises(DataError) as caught:
        list(read_all(path))
    assert str(caught.value) == f"{path}: there are no rows"


def test_columns_of_the_same_name(tmp_path: Path) -> None:
    twice = pa.table([[1, 2], [3, 4]], names=["label", "label"])
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(twice, path)
    with pytest.raises(DataError) as caught:
        list(read_all(path))
    assert str(caught.value) == f"{path}: two columns are called 'label'; rename one"


def test_names_that_no_file_can_have() -> None:
    for name in ("a\0b.csv", "x" * 5000):
        with pytest.raises(DataError):
            list(read_all(Path(name)))


def test_too_few_fields_between_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x;y;label\n1;2;3\n1;2\n")
    with pytest.raises(DataError) as caught:
        list(read_all(path))
    assert str(caught.value) == f"{path}: line 3: expected 3 fields, found 2"

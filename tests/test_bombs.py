"""Small files that would grow beyond all bounds are refused before they do."""

import contextlib
import resource
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
import torch
from torch import nn

from dataaudit.datasets import files
from dataaudit.datasets.arrow_column import decoded_bytes
from dataaudit.datasets.arrow_ipc import ArrowFiles
from dataaudit.datasets.images import decode
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.parquet import Parquet
from dataaudit.datasets.parquet_pages import page_bytes
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.errors import DataError, ModelError
from dataaudit.models.loading import load_weights


def test_a_zip_bomb_as_weights(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for member in plain.infolist():
            content = plain.read(member)
            bomb.writestr(member.filename, content + b"\0" * 10_000_000)
    assert (tmp_path / "bomb.pt").stat().st_size < 200_000
    with pytest.raises(ModelError, match=r"is compressed \(100\d+ bytes when unpacked\)"):
        load_weights(nn.Linear(2, 2), tmp_path / "bomb.pt")
    load_weights(nn.Linear(2, 2), tmp_path / "plain.pt")


def png(width: int, height: int) -> bytes:
    """Return a PNG that announces a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (10_000, 10_000), (2**31 - 1, 1)])
def test_an_image_bomb(width: int, height: int) -> None:
    with pytest.raises(DataError, match=r"pixels|known format"):
        decode(png(width, height), where="a row")


def test_a_parquet_file_of_rows_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SMALL", 1000)
    path = tmp_path / "bomb.parquet"
    table = pa.table({"label": pa.array(np.zeros(2_000_000, dtype=np.int8))})
    pyarrow.parquet.write_table(table, path)
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match="announces 2000000 rows in"):
        open_samples(path, ReadSettings("train", "label"))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.png").write_bytes(png(1, 1))
    folder = tmp_path / "images" / "cat"
    folder.mkdir(parents=True)
    (folder / "b.png").write_bytes(png(1, 1))
    (folder / "c.png").symlink_to(tmp_path / "secret" / "a.png")
    with pytest.raises(DataError, match="is a link that leads nowhere or out of the folder"):
        open_samples(tmp_path / "images", ReadSettings("train", "label"))


def test_an_arrow_file_of_nulls_without_end(tmp_path: Path) -> None:
    path = tmp_path / "bomb.arrow"
    table = pa.table({"label": pa.nulls(2_000_000_000)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match="announces 2000000000 rows in"):
        open_samples(path, ReadSettings("train", "label"))


def test_pictures_that_are_only_large(tmp_path: Path) -> None:
    # Below the limit of a single picture; two dozen of these took minutes.
    content = png(8000, 8000)
    assert len(content) < 2000
    with pytest.raises(
        DataError, match=r"8000 x 8000 pixels in .* no picture is packed so densely"
    ):
        decode(content, where="a row")


def test_weights_with_two_directories(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "plain.pt")
    plain = (tmp_path / "plain.pt").read_bytes()
    torch.save({"other": torch.zeros(3)}, tmp_path / "other.pt")
    (tmp_path / "two.pt").write_bytes((tmp_path / "other.pt").read_bytes() + plain)
    (tmp_path / "comment.pt").write_bytes(plain[:-2] + b"\4\0PK\5\6")
    for name in ("two.pt", "comment.pt"):
        with pytest.raises(ModelError, match="its list of members is not where"):
            load_weights(nn.Linear(2, 2), tmp_path / name)
    load_weights(nn.Linear(2, 2), tmp_path / "plain.pt")


LONG = "x" * 1_000_000
ENDINGS = ("parquet", "arrow")


def said_once(rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([LONG]))


def repeated(kind: str) -> pa.Table:
    """Return 8,000 or 900,000 rows of a million bytes each, which are said once."""
    if kind == "runs":
        ends, values = pa.array([900_000], pa.int32()), pa.array([LONG])
        return pa.table({"label": pa.RunEndEncodedArray.from_arrays(ends, values)})
    column: pa.Array = said_once(8000)
    if kind == "lists":
        column = pa.ListArray.from_arrays(pa.array(range(8001), pa.int32()), column)
    if kind == "objects":
        column = pa.StructArray.from_arrays([column], ["bytes"])
    return pa.table({"label": column})


def test_values_that_say_only_in_what_they_differ(tmp_path: Path) -> None:
    def written(values: list[str]) -> Path:
        path = tmp_path / "rows.parquet"
        table = pa.table({"label": values, "number": range(len(values))})
        encodings = {"label": "DELTA_BYTE_ARRAY", "number": "PLAIN"}
        pyarrow.parquet.write_table(
            table, path, use_dictionary=False, column_encoding=encodings, compression="zstd"
        )
        return path

    settings = ReadSettings("train", "label", task="classification", classes=["aa", "ab"])
    assert open_samples(written(["aa", "ab", "ab"] * 700), settings).labels.sum() == 1400
    path = written([LONG] * 1500)
    assert path.stat().st_size < 20_000
    before = pa.default_memory_pool().total_bytes_allocated()
    with pytest.raises(DataError, match="holds more than 100 bytes for each of its own"):
        open_samples(path, settings)
    assert pa.default_memory_pool().total_bytes_allocated() - before < 800_000_000


@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        *((kind, ending) for kind in ("texts", "lists", "objects") for ending in ENDINGS),
        # Parquet has no such type.
        ("runs", "arrow"),
    ],
)
def test_a_long_value_that_is_said_once_for_all_rows(
    tmp_path: Path, kind: str, ending: str
) -> None:
    path, table = tmp_path / f"bomb.{ending}", repeated(kind)
    if ending == "parquet":
        pyarrow.parquet.write_table(table, path, compression="zstd")
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    most = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    # 8 GB are asked for, or 900; a tenth of it must do.
    resource.setrlimit(resource.RLIMIT_AS, (used + 800_000_000, most[1]))
    try:
        with pytest.raises(DataError, match="holds more than 100 bytes for each of its own"):
            open_samples(path, ReadSettings("train", "label", task="classification"))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, most)


def with_less_in_the_footer(path: Path) -> bytes:
    """Return a Parquet file whose footer says that its column takes 1 byte; its pages do not."""
    content = path.read_bytes()
    size = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size
    written = bytearray()
    number = 2 * size
    while number:
        written.append(number & 127 | 128 * (number > 127))
        number >>= 7
    assert content.count(written) >= 1
    return content.replace(written, b"\x82" + b"\x80" * (len(written) - 2) + b"\x00")


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("kind", ["file", "stream", "categories", "parquet", "parquet that lies"])
def test_packed_values_are_bounded_before_they_are_unpacked(
    tmp_path: Path, codec: str, kind: str
) -> None:
    path = tmp_path / ("bomb.parquet" if kind.startswith("parquet") else "bomb.arrow")
    column = pa.array([first + "x" * 40_000_000 for first in "ab"])
    if kind == "categories":
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), column)
    table = pa.table({"label": column})
    if kind.startswith("parquet"):
        pyarrow.parquet.write_table(table, path, compression=codec, use_dictionary=False)
        if kind == "parquet that lies":
            path.write_bytes(with_less_in_the_footer(path))
    else:
        new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
        options = pa.ipc.IpcWriteOptions(compression=codec)
        with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema, options=options) as writer:
            writer.write_table(table)
    assert path.stat().st_size < 500_000
    before = pa.default_memory_pool().total_bytes_allocated()
    with pytest.raises(DataError, match="holds more than 100 bytes for each of its own"):
        open_samples(path, ReadSettings("train", "label", task="classification"))
    assert pa.default_memory_pool().total_bytes_allocated() - before < 1_000_000


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_pages_announce_what_they_hold(tmp_path: Path, version: Any, dictionary: bool) -> None:
    path = tmp_path / "rows.parquet"
    lists = [[number, number + 1] for number in range(3000)]
    table = pa.table(
        {"t": [f"{n % 50} words" for n in range(3000)], "l": lists, "z": pa.nulls(3000)}
    )
    pyarrow.parquet.write_table(
        table, path, row_group_size=900, data_page_size=500, data_page_version=version,
        use_dictionary=dictionary, compression="zstd", write_page_index=True,
    )  # fmt: skip
    metadata = pyarrow.parquet.ParquetFile(path).metadata
    pages = list(page_bytes(path, metadata))
    groups = range(metadata.num_row_groups)
    # The footer counts the headers of the pages, too.
    assert 0.9 < sum(pages) / sum(metadata.row_group(g).total_byte_size for g in groups) < 1
    content = path.read_bytes()
    for place in range(4, len(content) - 8, 97):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):
            Parquet.open([path], "rows")


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_packed_arrow_files_with_damaged_headers(tmp_path: Path, kind: str) -> None:
    path, table = tmp_path / "rows.arrow", pa.table({"label": ["ab", "c"] * 20})
    new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    assert len(ArrowFiles.open([path], "rows")) == 40
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):
            ArrowFiles.open([path], "rows")


def test_bytes_of_a_column_are_counted_as_if_they_were_decoded() -> None:
    words = pa.array(["a", "bcd", None, ""])
    assert decoded_bytes(words) == 4
    assert decoded_bytes(words.dictionary_encode()) == 4
    assert decoded_bytes(pa.array([["a", "bcd"], None, ["xy"]])) == 6
    assert decoded_bytes(pa.array([{"p": "a"}, {"p": "bcd"}])) == 4
    assert decoded_bytes(pc.run_end_encode(pa.array(["ab", "ab", "c"]))) == 5
    assert decoded_bytes(words.cast(pa.string_view())) == 4
    numbers = pa.array([1, 2, 3])
    assert decoded_bytes(numbers) == numbers.nbytes


def test_no_damage_to_a_footer_ends_the_process(tmp_path: Path) -> None:
    """Arrow aborts where a column is asked for whose counts of levels are too many, say."""
    rows = pa.table({"text": [f"row {number}" for number in range(40)], "label": [0, 1] * 20})
    pyarrow.parquet.write_table(rows, tmp_path / "whole.parquet", row_group_size=8)
    whole, path = (tmp_path / "whole.parquet").read_bytes(), tmp_path / "damaged.parquet"
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(whole)
        place = int(generator.integers(len(whole) * 3 // 5, len(whole)))
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            metadata = pyarrow.parquet.ParquetFile(path).metadata
            list(page_bytes(path, metadata))
        except (ValueError, IndexError, OSError, pa.ArrowException):
            refused += 1
            continue
        for group in range(metadata.num_row_groups):
            for column in range(metadata.num_columns):
                metadata.row_group(group).column(column)
    assert refused > 100

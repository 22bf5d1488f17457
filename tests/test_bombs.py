"""Small files that would grow beyond all bounds are refused before they do."""

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from torch import nn

from dataaudit.datasets import files
from dataaudit.datasets.images import decode
from dataaudit.datasets.load import open_samples
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

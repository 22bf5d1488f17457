"""Tar shards as data: what a sample is, random access, and archives that mean harm."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import CommandLine
from PIL import Image

from dataaudit.datasets import tar_members
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.shard_paths import shard_paths
from dataaudit.errors import DataError
from dataaudit.review.exports.croissant import croissant

Content = dict[str, bytes]


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (5, 4), shade).save(file, "PNG")
    return file.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(content))


def write(path: Path, content: Content, kind: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=kind) as archive:
        for name, value in content.items():
            add(archive, name, value, mtime=1.5)
    return path


def pictures(numbers: range) -> Content:
    content: Content = {}
    for number in numbers:
        content[f"pets/{number:03d}.png"] = png(number)
        content[f"pets/{number:03d}.cls"] = str(number % 2).encode()
        content[f"pets/{number:03d}.json"] = json.dumps({"by": f"person {number % 3}"}).encode()
    return content


def opened(path: Path, label: str = "cls", **changes: Any) -> Samples:
    return open_samples(path, ReadSettings("train", label, **changes))


def message(path: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        opened(path, **changes)
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    folder.mkdir()
    write(folder / "train-000.tar", pictures(range(5)))
    write(folder / "train-001.tar", {})
    write(folder / "train-002.tar", pictures(range(5, 9)), tarfile.GNU_FORMAT)
    return folder


def test_a_sample_is_the_members_of_one_key(shards: Path) -> None:
    samples = opened(shards)
    assert samples.ids.tolist() == [
        *(f"train-000.tar/pets/00{number}" for number in range(5)),
        *(f"train-002.tar/pets/00{number}" for number in range(5, 9)),
    ]
    assert samples.labels.tolist() == [number % 2 for number in range(9)]
    assert (samples.modality, samples.content_column) == ("image", "png")
    frame = samples.take(range(9)).frame
    assert list(frame) == ["__key__", "png", "cls", "json.by"]
    assert frame["png"].tolist() == [png(number) for number in range(9)]
    assert frame["json.by"].tolist() == [f"person {number % 3}" for number in range(9)]
    assert frame["cls"].dtype == np.int64


@pytest.mark.parametrize("rows", [1, 2, 4, 100])
def test_frames_and_random_access_give_the_same_rows(shards: Path, rows: int) -> None:
    source = opened(shards).source
    whole = pd.concat(list(source.frames(rows)))
    assert whole.index.tolist() == list(range(9))
    for positions in ([8, 0, 4, 5, 0], [3], list(range(9))[::-1]):
        pd.testing.assert_frame_equal(
            source.take(positions), whole.iloc[positions], check_index_type=False
        )
    assert len(source.take([])) == 0


def test_shards_are_one_file_a_folder_or_a_pattern(shards: Path) -> None:
    def names(pattern: str) -> list[str]:
        found = shard_paths(shards / pattern)
        assert found is not None
        return [path.name for path in found]

    assert names("train-002.tar") == ["train-002.tar"]
    assert names("") == ["train-000.tar", "train-001.tar", "train-002.tar"]
    assert names("train-{000..002}.tar") == names("")
    assert names("train-{002,000}.tar") == ["train-002.tar", "train-000.tar"]
    assert names("train-*[02].tar") == ["train-000.tar", "train-002.tar"]
    assert opened(shards).sha256 == opened(shards / "train-{000..002}.tar").sha256
    assert opened(shards).sha256 != opened(shards / "train-00[01].tar").sha256
    assert message(shards / "train-{000..003}.tar").startswith("train-003.tar: there is no such")
    assert message(shards / "val-*.tar").endswith("and no name fits this pattern")
    assert "means 1000001 names" in message(shards / "train-{0..1000000}.tar")


def test_what_the_names_say(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tar",
        {
            "README": b"no sample", ".hidden.txt": b"no sample", "__meta__.json": b"{}",
            "./b/1.TXT": b"one", "./b/1.seg.png": png(1), "./b/1.cls": b" 7\n",
            "b/1.5.txt": b"the key ends at the first dot", "b/2.cls": b"cat", "b/2.txt": b"",
        },
    )  # fmt: skip
    samples = opened(path, classes=["7", "cat"])
    frame = next(samples.source.frames(9))
    assert list(frame) == ["__key__", "txt", "seg.png", "cls", "5.txt"]
    assert frame["__key__"].tolist() == samples.ids.tolist() == ["a.tar/b/1", "a.tar/b/2"]
    assert frame["txt"].tolist() == ["one", ""]
    assert frame["cls"].tolist() == ["7", "cat"]
    assert samples.labels.tolist() == [0, 1]
    assert frame["seg.png"].tolist() == [png(1), None]
    assert frame["5.txt"].isna().tolist() == [False, True]


LONG = "/".join(["a folder of a name that takes many letters"] * 5)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("folder", ["", "ünïcode/日本", LONG], ids=["short", "unicode", "long"])
def test_every_format_is_read_as_tarfile_reads_it(tmp_path: Path, kind: int, folder: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=kind) as archive:
        add(archive, "folder", type=tarfile.DIRTYPE)
        for number in range(4):
            for extension in ("cls", "txt"):
                name = f"{folder}/{number}.{extension}".lstrip("/")
                add(archive, name, str(number % 2).encode() * number**5, mtime=number / 3)
    with tarfile.open(path) as archive, path.open("rb") as file:
        expected = [(m.name, m.offset_data, m.size) for m in archive if m.isreg()]
        found = list(tar_members.members(file, path.stat().st_size, "a.tar"))
        assert [(m.name, m.offset, m.size) for m in found] == expected
        for number, member in enumerate(found):
            # A walk can begin at any member.
            rest = tar_members.members(file, path.stat().st_size, "a.tar", member.start)
            assert list(rest) == found[number:]


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("b.txt", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "b.txt is a link"),
        ("b.txt", {"type": tarfile.LNKTYPE, "linkname": "a.cls"}, "b.txt is a link"),
        ("b.txt", {"type": tarfile.CHRTYPE}, "b.txt is no plain file"),
        ("b.txt", {"type": tarfile.FIFOTYPE}, "b.txt is no plain file"),
        ("b.txt", {"type": tarfile.GNUTYPE_SPARSE}, "b.txt is no plain file"),
        ("/etc/b.txt", {}, "/etc/b.txt leads out of the archive"),
        ("x/../../b.txt", {}, "x/../../b.txt leads out of the archive"),
        ("b.txt", {"pax_headers": {"GNU.sparse.realsize": "9" * 15}}, "holds a sparse file"),
        ("b.txt", {"pax_headers": {"comment": "x" * 100_000}}, "expected at most 65536"),
        ("b\udcff.txt", {}, "is not UTF-8"),
    ],
)
def test_hostile_members_are_refused(
    tmp_path: Path, name: str, fields: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", errors="surrogateescape") as archive:
        add(archive, "a.cls", b"0")
        add(archive, name, **fields)
        add(archive, "c.cls", b"1")
    assert expected in message(path)


def announcing(size: int) -> bytes:
    """Return an archive whose only member announces more than it holds."""
    info = tarfile.TarInfo("a.cls")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + b"0" * 512 + b"\0" * 1024


@pytest.mark.parametrize("size", [10_000, 2**30, 2**62, -5])
def test_an_announced_size_is_not_believed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(announcing(size))
    found = message(path)
    assert "is cut short" in found or "MiB" in found or "a negative size" in found


def test_one_header_for_all_members_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", pax_headers={"path": "x.cls"}) as archive:
        add(archive, "a.cls", b"0")
    assert message(path) == "a.tar: one header gives the path or size of all members"


def test_a_shard_cut_short_anywhere_is_refused(shards: Path) -> None:
    path = shards / "train-000.tar"
    content = path.read_bytes()
    end = len(content.rstrip(b"\0")) // 512 * 512 + 512
    assert len(opened(path)) == 5
    for length in [0, 1, 511, *range(512, end, 512), end - 700]:
        path.write_bytes(content[:length])
        assert "is cut short" in message(path)
    # Up to its first zeros the archive is whole.
    path.write_bytes(content[: end + 512])
    assert len(opened(path)) == 5


def test_what_follows_the_end_is_not_lost_without_a_word(shards: Path) -> None:
    whole = (shards / "train-000.tar").read_bytes() + (shards / "train-002.tar").read_bytes()
    (shards / "train-000.tar").write_bytes(whole)
    assert "more stands behind the end of the archive" in message(shards / "train-000.tar")


def test_random_bytes_are_refused_with_one_message(shards: Path) -> None:
    path = shards / "train-000.tar"
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content)
        for place in generator.integers(len(content.rstrip(b"\0")), size=4):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        # Anything but a DataError fails; what is read must be all that was found.
        with contextlib.suppress(DataError):
            samples = opened(path, tolerate=True)
            assert len(samples.take(range(len(samples)))) == len(samples)


def test_names_that_stand_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "a.cls", b"0")
        add(archive, "a.CLS", b"1")
    assert message(path) == "a.tar: two members of the sample a end in .cls"
    write(path, {"a.cls": b"0", "b.cls": b"1", "a.txt": b"again"})
    assert "ids must be unique; repeated: a.tar/a (rows 0 and 2)" in message(path, tolerate=True)
    write(path, {"a.json": b'{"x": 1}', "a.json.x": b"1", "a.cls": b"0"})
    assert message(path) == "a.tar: two columns are called 'json.x'; rename one"


def test_labels_may_stand_in_json(tmp_path: Path) -> None:
    content = {f"{n}.json": json.dumps({"kind": "ab"[n % 2], "n": n}).encode() for n in range(4)}
    samples = opened(write(tmp_path / "a.tar", content), label="json.kind", classes=["a", "b"])
    assert samples.labels.tolist() == [0, 1, 0, 1]
    assert samples.take([2]).frame["json.n"].tolist() == [2]


def test_bad_rows_are_refused_or_left_to_be_set_aside(tmp_path: Path) -> None:
    content = {
        "0.cls": b"0",
        "0.txt": b"good",
        "1.cls": b"1",
        "1.txt": b"\xff",
        "2.txt": b"no label",
    }
    path = write(tmp_path / "a.tar", content)
    assert "row 2 (id a.tar/2): the label is missing" in message(path)
    samples = opened(path, classes=[0, 1], tolerate=True)
    assert samples.labels.tolist() == [0, 1, -1]
    assert samples.take([1]).frame["txt"].isna().all()
    write(path, {name: content[name] for name in content if not name.startswith("2")})
    assert message(path) == "a.tar: 1.txt: is not UTF-8: invalid start byte at byte 0"
    write(path, {"0.json": b"[1]", "0.cls": b"0"})
    assert "0.json: expected a JSON object {…}, found a list" in message(path)


def test_compressed_shards_and_shards_that_change_are_named(shards: Path) -> None:
    packed = shards.parent / "train.tar.gz"
    packed.write_bytes(b"")
    assert "cannot be read row by row (unpack it to .tar)" in message(packed)
    samples = opened(shards)
    write(shards / "train-000.tar", pictures(range(50, 90)))
    (shards / "train-002.tar").write_bytes((shards / "train-002.tar").read_bytes()[512:])
    with pytest.raises(
        DataError, match=r"train-002\.tar: (the file changed|cannot be read|is cut)"
    ):
        samples.take([8])


def test_links_out_of_the_folder_are_refused(shards: Path) -> None:
    write(shards.parent / "secret.tar", pictures(range(2)))
    (shards / "z.tar").symlink_to(shards.parent / "secret.tar")
    assert "is a link that leads out of the folder" in message(shards)


def project(folder: Path) -> Path:
    """Write a folder of shards of small pictures, some under a wrong label."""
    generator = np.random.default_rng(0)
    for name, rows in {"train-000": 60, "train-001": 60, "val": 60}.items():
        content: Content = {}
        for row in range(rows):
            label = row % 2
            shades = generator.normal(80 + 100 * label, 30, (6, 6)).clip(0, 255)
            file = io.BytesIO()
            Image.fromarray(shades.astype(np.uint8)).save(file, "PNG")
            content[f"{row}.png"] = file.getvalue()
            content[f"{row}.cls"] = str(1 - label if row < 5 and name != "val" else label).encode()
        write(folder / f"{name}.tar", content)
    return folder


def test_shards_go_through_every_command(tmp_path: Path, command_line: CommandLine) -> None:
    folder = project(tmp_path)
    outcome = command_line("init", folder)
    assert outcome.out.splitlines()[:2] == [
        "train: train-[0-9]*.tar (120 rows, image; labels in 'cls', 2 classes; ids in '__key__')",
        "held_out: val.tar (60 rows, image; labels in 'cls', 2 classes; ids in '__key__')",
    ]
    module = folder / "my_model.py"
    unfilled = 'raise NotImplementedError("fill in build() in my_model.py")'
    linear = "torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2))"
    # Without weights that point anywhere: clearly worse than chance would be refused.
    build = f"m = {linear}; m(torch.zeros(2, 1, 6, 6)); torch.nn.init.zeros_(m[1].weight); return m"
    module.write_text(module.read_text(encoding="utf-8").replace(unfilled, build), encoding="utf-8")
    settings = (folder / "audit.yaml").read_text(encoding="utf-8")
    quick = settings.replace("{kind: auto, seed: 0}", "{steps: 4}")
    (folder / "audit.yaml").write_text(quick, encoding="utf-8")
    audit = folder / "audit"
    ran = command_line("run", folder / "audit.yaml", "--out", audit)
    assert (ran.code, ran.err) == (0, "")
    found = pd.read_parquet(audit / "mislabels.parquet")
    assert found["row_id"].tolist()[:2] == ["train-000.tar/0", "train-000.tar/1"]
    assert found["row_id"].is_unique

    assert command_line("export", audit, "--to", "csv", "--only", "all").code == 0
    exported = pd.read_csv(folder / "audit-all.csv")
    assert set(exported["row_id"]) == set(found["row_id"])
    out = folder / "croissant.json"
    assert command_line("export", audit, "--to", "croissant", "--out", out).code == 0
    described = json.loads(out.read_text(encoding="utf-8"))
    kinds = [item["@type"] for item in described["distribution"]]
    assert kinds == ["cr:FileObject"] * 2 + ["cr:FileSet"] * 2
    names = [field["name"] for records in described["recordSet"] for field in records["field"]]
    assert names == ["cls", "png"]
    assert command_line("compare", audit, audit, "--out", folder / "compared").code == 0
    decisions = folder / "decisions.csv"
    decisions.write_text("row_id,decision,new_label\ntrain-000.tar/0,relabel,0\n", encoding="utf-8")
    arguments = ("relabel", audit, "--decisions", decisions, "--out", folder / "corrected.tar")
    refused = command_line(*arguments)
    assert refused.code == 2
    assert "shards are not rewritten; correct the labels where the shards are made" in refused.err
    assert refused.err.count("\n") == 1


def test_the_reference_validator_accepts_shards(tmp_path: Path, shards: Path) -> None:
    validator = pytest.importorskip("mlcroissant")
    from review_examples import audited

    audit = audited(tmp_path)
    content = croissant(audit.report, opened(shards), tmp_path)
    (tmp_path / "croissant.json").write_text(json.dumps(content), encoding="utf-8")
    # Raises where the metadata breaks the specification.
    validator.Dataset(str(tmp_path / "croissant.json"))

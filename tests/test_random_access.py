"""Rows taken at random: the same as by reading on, whatever the format, and nothing else read."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from dataaudit.datasets import arrow_ipc, mapped_rows, text_lines
from dataaudit.datasets.comma_separated import CommaSeparated
from dataaudit.datasets.formats import open_source
from dataaudit.datasets.json_lines import JsonLines
from dataaudit.datasets.parquet import Parquet
from dataaudit.datasets.set_aside import Kept
from dataaudit.datasets.sources import ColumnSource

ROWS = 400
FORMATS = ["csv", "jsonl", "parquet", "feather", "arrow", "saved"]


def records() -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    return [
        {
            "number": float(generator.normal()),
            "count": None if row % 7 == 3 else row,
            "yes": None if row % 5 == 1 else bool(row % 2),
            "text": ["plain", 'a "quote", a comma', "two\nlines\r\nof it", "", "ü"][row % 5] * 3,
            "kind": ["apple", "pear"][row % 2],
            "label": row % 3,
        }
        for row in range(ROWS)
    ]


@pytest.fixture(params=FORMATS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> ColumnSource:
    return open_source(written(request.param, tmp_path))


def written(kind: str, folder: Path) -> Path:
    path = folder / f"rows.{kind}"
    table = pa.Table.from_pylist(records())
    place = table.column_names.index("kind")
    table = table.set_column(place, "kind", table.column("kind").dictionary_encode())
    if kind == "csv":
        lines = pd.DataFrame(records()).to_csv(index=False, lineterminator="\n").splitlines(True)
        # Blank lines are no rows.
        path.write_text("".join([*lines[:1], "\n", *lines[1:], "\n\n"]), newline="")
    elif kind == "jsonl":
        more = [record | {"list": [1, 2]} for record in records()]
        path.write_text("\n\n".join(map(json.dumps, more)))
    elif kind == "parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=90)
    elif kind == "feather":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=70)
    elif kind == "arrow":
        write_stream(path, table)
    else:
        path.mkdir()
        for part in range(2):
            write_stream(path / f"part{part}.arrow", table.slice(part * 200, 200))
        listed = [{"filename": f"part{part}.arrow"} for part in range(2)]
        (path / "state.json").write_text(json.dumps({"_data_files": listed}))
    return path


def write_stream(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)


def same_rows(source: Any, whole: pd.DataFrame) -> None:
    generator = np.random.default_rng(1)
    for count in (0, 1, 5, 3 * len(whole)):
        positions = generator.integers(len(whole), size=count).tolist()
        taken = source.take(positions)
        expected = whole.iloc[positions]
        pd.testing.assert_frame_equal(taken, expected, check_index_type=False)
        assert taken.index.tolist() == positions


def test_rows_taken_at_random_are_those_read_on(source: ColumnSource, tmp_path: Path) -> None:
    whole = pd.concat(list(source.frames(64)))
    assert len(whole) == ROWS
    same_rows(source, whole)
    quick = source.quick_to_take(tmp_path / "work")
    same_rows(quick, whole)
    pd.testing.assert_frame_equal(pd.concat(list(quick.frames(64))), whole)
    kept = np.arange(0, ROWS, 3)
    without = whole.iloc[kept].reset_index(drop=True)
    same_rows(Kept(source, kept).quick_to_take(tmp_path / "work"), without)
    with pytest.raises(IndexError, match=r"0\.\.399"):
        quick.take([ROWS])


def test_small_blocks_and_batches_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lines, "BLOCK_BYTES", 100)
    monkeypatch.setattr(mapped_rows, "BATCH_ROWS", 7)
    for kind in ("csv", "jsonl", "parquet"):
        source = open_source(written(kind, tmp_path)).quick_to_take(tmp_path)
        same_rows(source, pd.concat(list(source.frames(64))))


@pytest.mark.parametrize(("kind", "reader"), [("csv", CommaSeparated), ("jsonl", JsonLines)])
def test_no_block_of_text_is_parsed_for_a_row(
    kind: str, reader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(written(kind, tmp_path))
    monkeypatch.setattr(reader, "_read", None)
    assert source.take([399, 2])["label"].tolist() == [0, 2]


def test_records_that_lines_do_not_tell_apart_are_taken_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,label\n1,0\r2,1\n3,0\n")
    source = open_source(path)
    assert isinstance(source, CommaSeparated)
    assert source.offsets is None
    assert source.take([2, 1])["a"].tolist() == [3, 2]


def test_no_row_group_is_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(written("parquet", tmp_path)).quick_to_take(tmp_path / "work")
    monkeypatch.setattr(Parquet, "_group", None)
    assert source.take([399, 2])["label"].tolist() == [0, 2]
    # The file has no name, so that nothing is left behind by a process that is killed.
    assert list((tmp_path / "work").iterdir()) == []


def test_without_room_the_file_itself_is_read_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mapped_rows, "SHARE_OF_FREE_DISK", 0.0)
    source = open_source(written("parquet", tmp_path))
    with caplog.at_level(logging.WARNING, "dataaudit"):
        quick = source.quick_to_take(tmp_path)
    assert "rows.parquet: its rows could not be written to" in caplog.text
    assert "of the free disk" in caplog.text
    same_rows(quick, pd.concat(list(source.frames(64))))


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    path = written("csv", tmp_path)
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(Exception, match="changed while it was being read"):
        source.take([399, 2])


def test_damage_in_a_batch_is_seen_at_the_first_take(tmp_path: Path) -> None:
    path = written("feather", tmp_path)
    content = path.read_bytes()
    damaged = content.replace("ü".encode(), b"\xff\xff")
    assert damaged != content
    path.write_bytes(damaged)
    source = open_source(path)
    assert isinstance(source, arrow_ipc.ArrowFiles)
    with pytest.raises(Exception, match="cannot be read as an Arrow file"):
        source.take([0])

"""Stretches of rows: read anywhere in any format as a walk through all rows reads them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import nn

from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.set_aside import without
from dataaudit.models.loading import load_function
from dataaudit.scoring.packing import packed
from dataaudit.scoring.stretches import (
    Reader,
    Shares,
    Stretch,
    can_read,
    lies_in_files,
    sizes_of,
)

ROWS, LENGTH = 103, 16


def table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(ROWS, 2)), columns=["a", "b"])
    frame["whole"] = pd.array([None if n == 50 else n for n in range(ROWS)], dtype="Int64")
    frame["label"] = np.arange(ROWS) % 3
    return frame


def samples_in(ending: str, folder: Path) -> Samples:
    if ending == "memory":
        return samples_from_object(table(), ReadSettings("train", "label"))
    path = folder / f"rows.{ending}"
    if ending == "parquet":
        table().to_parquet(path, row_group_size=30)
    elif ending == "csv":
        table().to_csv(path, index=False)
    elif ending == "jsonl":
        table().to_json(path, orient="records", lines=True)
    else:
        table().to_feather(path)
    return open_samples(path, ReadSettings("train", "label"))


@pytest.mark.parametrize("kept", ["all", "some"])
@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "arrow", "memory"])
def test_stretches_in_any_order_are_the_rows(tmp_path: Path, ending: str, kept: str) -> None:
    samples = samples_in(ending, tmp_path)
    if kept == "some":
        samples = without(samples, {0: "", 31: "", 32: "", 60: ""})
    expected = list(samples.batches(LENGTH))
    starts = list(range(0, len(samples), LENGTH))
    jumping = Reader(samples.source, LENGTH)
    straight = Reader(samples.source, LENGTH)
    shuffled = [3, 4, 5, 0, 2, 6, 1]
    for place, other in zip(range(len(starts)), shuffled, strict=True):
        for reader, number in ((straight, place), (jumping, other)):
            found = reader.read(Stretch.of(samples, starts[number], LENGTH))
            pd.testing.assert_frame_equal(found.frame, expected[number].frame)
            assert found.positions.tolist() == expected[number].positions.tolist()
            assert found.ids.tolist() == expected[number].ids.tolist()
            assert found.labels.tolist() == expected[number].labels.tolist()


def test_what_lies_in_files_can_be_read_by_another_process(tmp_path: Path) -> None:
    samples = samples_in("parquet", tmp_path)
    quick = samples.quick_to_take(tmp_path)
    assert lies_in_files(quick.source)
    assert lies_in_files(without(samples, {0: ""}).source)
    assert not lies_in_files(samples_in("memory", tmp_path).source)
    there = pickle.loads(pickle.dumps(quick))
    sizes = sizes_of(quick.source)
    assert can_read(there, sizes)
    # Another machine may hold an older copy at the same path.
    assert not can_read(there, [sizes[0] - 1])
    held = without(samples, {0: ""}).source
    assert sizes_of(held) == sizes
    assert can_read(samples_in("memory", tmp_path), [])
    # Nothing of the rows travels.
    assert len(pickle.dumps(quick.source)) < 2000
    (tmp_path / "rows.parquet").unlink()
    assert not can_read(there, sizes)


def test_the_users_own_code_goes_along_with_what_it_imports(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "own_part.py").write_text(
        "import own_neighbour\ndef preprocess(frame):\n    return own_neighbour.doubled(frame)\n"
    )
    (tmp_path / "own_neighbour.py").write_text("def doubled(frame):\n    return frame * 2\n")
    preprocess = load_function("own_part:preprocess", tmp_path, "preprocess")
    held = packed(preprocess, of=nn.Linear(1, 1), with_code_of=[preprocess])
    (tmp_path / "held").write_bytes(held)
    # Another process, which looks for modules elsewhere.
    script = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))(21))"
    command = [sys.executable, "-c", script, str(tmp_path / "held")]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (found.stdout, found.stderr) == ("42\n", "")


def test_each_block_goes_to_one_worker_and_neighbours_stay_together() -> None:
    shares = Shares(range(0, 1000, 10), 3)
    assert [shares.next_for(1) for _ in range(3)] == [340, 350, 360]
    seen = [340, 350, 360]
    # The others are slow; what is left of theirs is taken from the end.
    while shares:
        seen.append(shares.next_for(1))
    assert sorted(seen) == list(range(0, 1000, 10))
    assert np.mean(np.diff(seen) == 10) > 0.8

"""Do rows stream? Scores growing numbers of small images with a trivial model, meters memory.

    python benchmarks/streams.py [--rows 1000000]
    python benchmarks/streams.py --flags [--rows 1000000] [--classes 10]
    python benchmarks/streams.py --files [--rows 600000] [--kind table]

Each size runs in a process of its own, from a Parquet file of encoded images. Prints the peak of
each size, the ratio to the smallest, and rows a second (benchmarks/memory_meter.py). What must grow
with the rows, ids and labels, is 16 bytes a row.

With `--flags`, the same for the judgement of labels: from random tables on disk and 2,000
references, it prints the most memory of its own that the process held beside ids and labels, and
what each further row cost there.

With `--files`, an audit without a model, of a sixth of the rows, of half and of all: for loading,
leaks (200 suspects, half of them copies), checks and report, the most memory of its own that the
process held beside what it held before the stage. Rows are those of benchmarks/whole_audit.py.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import torch
import whole_audit
import whole_audit_data as data
from memory_meter import Held, measured, peak_kilobytes, print_growth, sizes
from PIL import Image
from torch import nn

from dataaudit.config import config_from_python
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.models.inputs import default_preprocess
from dataaudit.models.trained import TrainedModel
from dataaudit.run_directory.manifest import Clock
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring.blocks import ScoreBlocks
from dataaudit.scoring.choice import make_engine
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.stages import auditing
from dataaudit.storage.on_disk import one_array
from dataaudit.tasks import Classification

SIDE = 8
CLASSES = 10
ROWS_PER_GROUP = 10_000


def write_rows(path: Path, rows: int) -> None:
    """Write `rows` PNG images of noise, a thousand different ones again and again."""
    generator = np.random.default_rng(0)
    images = []
    for _ in range(1000):
        file = io.BytesIO()
        Image.fromarray(generator.integers(256, size=(SIDE, SIDE), dtype=np.uint8)).save(
            file, "PNG"
        )
        images.append(file.getvalue())
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, ROWS_PER_GROUP):
            count = min(ROWS_PER_GROUP, rows - start)
            columns = {
                "image": [images[(start + row) % 1000] for row in range(count)],
                "label": generator.integers(CLASSES, size=count),
            }
            writer.write_table(pa.table(columns, schema=schema))


def score(path: Path, work: Path) -> None:
    """Load and score one file, and print peak memory and time."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train = open_samples(path, ReadSettings("train", "label"))
    module = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, CLASSES)).eval()
    model = TrainedModel(module, default_preprocess(train), "trivial")
    moved = Perturbation({name: value + 0.01 for name, value in module.named_parameters()})
    blocks = ScoreBlocks(Steps(work, tie="benchmark"))
    engine = make_engine(config_from_python("label", None, {}))
    start = time.perf_counter()
    for block in engine.score(model, Classification(CLASSES), train, [moved, moved]):
        blocks.write(block)
    seconds = time.perf_counter() - start
    total, rows = 0.0, 0
    for block in blocks:
        total, rows = total + float(block.losses.sum(dtype=np.float64)), rows + len(block)
    print(rows, peak_kilobytes(), round(seconds, 2), round(total / rows, 6))


def flag(rows: int, classes: int) -> None:
    """Flag rows by random tables of probabilities, and print memory held and time."""
    generator = np.random.default_rng(0)

    def parts(count: int) -> Iterator[np.ndarray]:
        for start in range(0, count, ROWS_PER_GROUP):
            shape = min(ROWS_PER_GROUP, count - start), classes
            values = generator.random(shape, dtype=np.float32) ** 4 + 1e-3
            yield values / values.sum(axis=1, keepdims=True)

    def labels(count: int) -> np.ndarray:
        return generator.integers(classes, size=count)

    planted = np.arange(2000) % 4 == 0
    known = [np.concatenate([*parts(2000)]) for _ in range(2)]
    references = References(labels(2000), planted, *known)
    tables = [one_array(parts(rows)) for _ in range(3)]
    ids, given = np.arange(rows), labels(rows)
    start = time.perf_counter()
    with Held() as held:
        labelled = LabelledRows(ids, given, range(classes), lambda x: x, *tables)
        flags = flag_mislabels(labelled, references)
    seconds = time.perf_counter() - start
    print(len(flags.table), held.most - held.before, round(seconds, 2))


class HeldClock(Clock):
    """Prints the most memory of its own that each stage held beside what was held before."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.process_time()
        with super().stage(name), Held() as held:
            yield
        seconds = time.process_time() - start
        print(f"{name}: {(held.most - held.before) / 1024:.0f} MiB, {seconds:.0f} CPU s", end="; ")


def audit_files(kind: str, rows: int) -> None:
    """Audit rows without a model."""
    auditing.Clock = HeldClock  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = ["name: files"]
        copies = next(data.rows(kind, rows, 0, data.NOISE)).head(100)
        others = pd.concat([next(data.rows(kind, 100, 2)), copies])
        for role, frames in (
            ("train", data.rows(kind, rows, 0, data.NOISE)),
            ("held_out", data.rows(kind, 100, 1)),
            ("suspects", iter([others])),
        ):
            whole_audit._write_table(folder / f"{role}.parquet", frames)
            lines.append(f"{role}: {{path: {role}.parquet, label: label}}")
        (folder / "audit.yaml").write_text("\n".join(lines), encoding="utf-8")
        auditing.run_file(folder / "audit.yaml", folder / "audit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--flags", action="store_true", help="the judgement of labels instead")
    parser.add_argument("--classes", type=int, default=CLASSES, help="of the judged labels")
    parser.add_argument("--flag", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--files", action="store_true", help="an audit without a model instead")
    parser.add_argument("--kind", default="table", choices=list(data.KINDS), help="of its rows")
    parser.add_argument("--file", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.file:
        audit_files(chosen.kind, chosen.file)
        return
    if chosen.files:
        for rows in (chosen.rows // 6, chosen.rows // 2, chosen.rows):
            words = measured(__file__, "--file", str(rows), "--kind", chosen.kind)
            print(f"{rows:>9} rows: {' '.join(words)}", flush=True)
        return
    if chosen.flag:
        flag(chosen.flag, chosen.classes)
        return
    if chosen.flags:
        before = None
        for rows in sizes(chosen.rows):
            command = "--flag", str(rows), "--classes", str(chosen.classes)
            count, held, seconds = map(float, measured(__file__, *command))
            further = ""
            if before is not None:
                cost = (held - before[1]) * 1024 / (count - before[0])
                further = f", {cost:.0f} bytes for each further row"
            before = count, held
            print(
                f"{count:>9.0f} rows: {held / 1024:.0f} MiB held, {seconds} s{further}", flush=True
            )
        return
    if chosen.score:
        with tempfile.TemporaryDirectory() as work:
            score(chosen.score, Path(work) / "train")
        return
    print_growth(__file__, write_rows, chosen.rows)


if __name__ == "__main__":
    main()

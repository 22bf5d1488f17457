"""Does mirrored influence stream? Scores growing tables against 10 query groups, meters memory.

    python benchmarks/scoring_memory.py [--rows 1000000]

Each size runs in a process of its own; scores go to disk and through a reduction. The meter is
that of benchmarks/memory_meter.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from memory_meter import peak_kilobytes, print_growth
from streams import CLASSES, ROWS_PER_GROUP
from torch import nn

from dataaudit.config import config_from_python
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.inputs import Loaded
from dataaudit.models.inputs import default_preprocess
from dataaudit.models.trained import TrainedModel
from dataaudit.studies.influence.run import influence_of
from dataaudit.studies.influence.settings import influence_settings
from dataaudit.tasks import Classification

COLUMNS = 20
GROUPS = 10


def write_table(path: Path, rows: int) -> None:
    """Write `rows` rows of noise in `COLUMNS` columns, and a label."""
    generator = np.random.default_rng(0)
    names = [f"column {number}" for number in range(COLUMNS)]
    fields = [(name, pa.float32()) for name in names]
    schema = pa.schema([*fields, ("label", pa.int64())])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, ROWS_PER_GROUP):
            count = min(ROWS_PER_GROUP, rows - start)
            values = generator.normal(size=(COLUMNS, count)).astype(np.float32)
            columns = dict(zip(names, values, strict=True))
            labels = generator.integers(CLASSES, size=count)
            writer.write_table(pa.table({**columns, "label": labels}, schema=schema))


def write_tables(path: Path, rows: int) -> None:
    """Write the training rows, and the queries beside them."""
    write_table(path, rows)
    write_table(path.with_name("queries.parquet"), GROUPS)


def influence(path: Path, work: Path) -> None:
    """Score one table against 10 query groups, and print peak memory and time."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train = open_samples(path, ReadSettings("train", "label"))
    queries = open_samples(
        path.with_name("queries.parquet"), ReadSettings("held_out", "label", classes=train.classes)
    )
    module = nn.Sequential(nn.Linear(COLUMNS, 64), nn.ReLU(), nn.Linear(64, CLASSES)).eval()
    model = TrainedModel(module, default_preprocess(train), "trivial")
    loaded = Loaded(model, Classification(CLASSES), train, queries, None, {})
    settings = influence_settings({"kind": "finite"})
    config = config_from_python("label", None, {})
    start = time.perf_counter()
    found = influence_of(loaded, None, settings, config, work)
    mean = found.per_group()["mean"].mean()
    print(found.rows, peak_kilobytes(), round(time.perf_counter() - start, 2), mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.score:
        with tempfile.TemporaryDirectory() as work:
            influence(chosen.score, Path(work) / "influence")
        return
    print_growth(__file__, write_tables, chosen.rows)


if __name__ == "__main__":
    main()

"""What can the process that hands out rows do? Sleeping workers, a killed node, a search in shards.

    python benchmarks/cluster.py capacity [--rows 786432]
    python benchmarks/cluster.py kills [--times 10]
    python benchmarks/cluster.py search [--rows 100000]

`capacity`: the model takes a fixed time for each row, in which it sleeps, so that many workers fit
on few cores. Rows lie in a Parquet file that the workers read, finished blocks in a folder that
they write. Prints rows a second for 1, 2, 4, 8 and 16 workers, and the CPU seconds of this process
for a million rows. The workers have started, and have scored a few rows, before the time is taken.

`kills`: an audit on four Ray nodes on this machine (`ray.cluster_utils.Cluster`); a node chosen at
random, but for the one that this process is on, is killed at a moment chosen at random, and another
one joins. Compares the tables with those of `engine: local`, seeds 0, 1, 2 and so on.

`search`: the search for leaks among rows and suspects of random words, here and by two workers; CPU
seconds of this process, and whether the matches are the same.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import ray
import torch
from ray.cluster_utils import Cluster as Nodes
from torch import nn

from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.likeness.matching import Matcher
from dataaudit.likeness.parts import parts_done_by
from dataaudit.likeness.texts import describe_texts
from dataaudit.models.trained import TrainedModel
from dataaudit.report.result import AuditResult
from dataaudit.resources import resource_folder
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring import local
from dataaudit.scoring.blocks import ScoreBlocks
from dataaudit.scoring.cluster import Cluster, Crew
from dataaudit.scoring.ray import RayEngine
from dataaudit.stages.auditing import run_file
from dataaudit.tasks import Classification

COLUMNS = ["a", "b", "c", "d"]
ROWS_PER_GROUP = 65_536
BATCH = 4096
BLOCK = 64
SECONDS_PER_ROW = 70e-6
"""So that 16 workers are to reach 228,000 rows a second."""


class Sleeping(nn.Module):
    """Takes a fixed time for each row."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        time.sleep(len(rows) * SECONDS_PER_ROW)
        return rows


def numbers(frame: pd.DataFrame) -> torch.Tensor:
    return torch.from_numpy(frame[COLUMNS].to_numpy(np.float32, copy=True))


def write_rows(path: Path, rows: int) -> None:
    generator = np.random.default_rng(0)
    columns = {name: generator.normal(size=rows).astype(np.float32) for name in COLUMNS}
    table = pa.table(columns | {"label": np.arange(rows) % 2})
    pyarrow.parquet.write_table(table, path, row_group_size=ROWS_PER_GROUP)


def capacity(rows: int) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(Sleeping(), nn.Linear(len(COLUMNS), 2)).eval()
    model = TrainedModel(module, numbers, "sleeping")
    task = Classification(2)
    ray.init(num_cpus=16, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder, Cluster() as cluster:
        few, all_rows = Path(folder) / "few.parquet", Path(folder) / "all.parquet"
        write_rows(few, 32 * BATCH)
        write_rows(all_rows, rows)
        warm = open_samples(few, ReadSettings("train", "label"))
        before = time.process_time()
        samples = open_samples(all_rows, ReadSettings("train", "label"))
        print(f"opening: {(time.process_time() - before) * 1e6 / rows:.2f} CPU s a million rows")
        one = 0.0
        for workers in (1, 2, 4, 8, 16):
            cluster.workers = workers
            engine = RayEngine(BATCH, cluster)
            blocks = ScoreBlocks(Steps(Path(folder) / f"warm{workers}", tie="benchmark"))
            assert list(engine.score(model, task, warm, [], into=blocks)) == []
            blocks = ScoreBlocks(Steps(Path(folder) / f"all{workers}", tie="benchmark"))
            began, before = time.perf_counter(), time.process_time()
            assert list(engine.score(model, task, samples, [], into=blocks)) == []
            rate = rows / (time.perf_counter() - began)
            own = (time.process_time() - before) * 1e6 / rows
            one = one or rate
            before = time.process_time()
            assert sum(len(block) for block in blocks) == rows
            back = (time.process_time() - before) * 1e6 / rows
            print(
                f"{workers:>2} workers: {rate:>9,.0f} rows/s, {rate / one:.1f} x one; scoring "
                f"{own:.2f}, reading back {back:.2f} CPU s a million rows; load "
                f"{os.getloadavg()[0]:.1f}",
                flush=True,
            )
    ray.shutdown()


def kills(times: int) -> None:
    # Small blocks, so that a node has some of them whenever it is killed.
    local._ROWS_PER_BLOCK = BLOCK
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo"
        shutil.copytree(resource_folder("sample_data"), demo)
        yaml = demo / "audit.yaml"
        text = yaml.read_text(encoding="utf-8") + f"\nbatch_size: {BLOCK}\n"
        yaml.write_text(text, encoding="utf-8")
        expected = run_file(yaml, demo / "local")
        yaml.write_text(text + "engine: {kind: ray, address: auto, workers: 3}\n", encoding="utf-8")
        seconds = _audited(yaml, demo / "undisturbed", expected, None)
        print(f"undisturbed: on the cluster for {seconds:.1f} s, the same tables", flush=True)
        for seed in range(times):
            moment = random.Random(seed).uniform(0, seconds)
            _audited(yaml, demo / f"killed{seed}", expected, (seed, moment))
            print(f"seed {seed}: a node killed after {moment:.1f} s, the same tables", flush=True)


def _audited(yaml: Path, out: Path, expected: AuditResult, kill: tuple[int, float] | None) -> float:
    """Audit on four nodes, compare the tables, and return from when to when workers worked, s."""
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0})
    others = [nodes.add_node(num_cpus=1) for _ in range(3)]
    ray.init(address=nodes.address, log_to_driver=False)
    asked: list[float] = []
    killed: list[threading.Timer] = []
    crew = Cluster.crew

    def watched(self: Cluster, *arguments: Any, **options: Any) -> Crew:
        found = crew(self, *arguments, **options)
        if not asked and kill is not None:
            victim = random.Random(kill[0]).choice(others)
            killed.append(threading.Timer(kill[1], _replaced, (nodes, victim)))
            killed[0].start()
        asked.append(time.monotonic())
        return found

    Cluster.crew = watched  # type: ignore[method-assign]
    try:
        found = run_file(yaml, out)
        for timer in killed:
            timer.join()
    finally:
        Cluster.crew = crew  # type: ignore[method-assign]
        ray.shutdown()
        nodes.shutdown()
    for name in ("mislabels", "contamination"):
        table, wanted = getattr(found, name), getattr(expected, name)
        pd.testing.assert_frame_equal(table, wanted, rtol=1e-6)
    return asked[-1] - asked[0]


def _replaced(nodes: Nodes, victim: Any) -> None:
    nodes.remove_node(victim, allow_graceful=False)
    nodes.add_node(num_cpus=1)


def search(rows: int) -> None:
    generator = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(5000)])
    texts = [" ".join(words[line]) for line in generator.integers(0, len(words), (rows, 12))]
    described = describe_texts(texts)
    suspects = described.take(generator.choice(rows, 1000, replace=False))
    matcher = Matcher(described)
    began, before = time.perf_counter(), time.process_time()
    expected = matcher.match(suspects)
    here = time.perf_counter() - began, time.process_time() - before
    with Cluster(2) as cluster, parts_done_by(cluster.spread):
        list(cluster.spread(len_of, [slice(0, 1), slice(1, 2)], "starting"))
        began, before = time.perf_counter(), time.process_time()
        found = matcher.match(suspects)
        there = time.perf_counter() - began, time.process_time() - before
    for column in ("rows", "similarity", "score"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))
    for name, (seconds, own) in (("here", here), ("two workers", there)):
        print(f"{name}: {seconds:.1f} s, {own:.1f} CPU s in this process, {rows} rows")


def len_of(part: slice) -> int:
    return part.stop - part.start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("capacity", "kills", "search"))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--times", type=int, default=10)
    chosen = parser.parse_args()
    if chosen.what == "capacity":
        capacity(chosen.rows or 16 * 12 * BATCH)
    elif chosen.what == "kills":
        kills(chosen.times)
    else:
        search(chosen.rows or 100_000)


if __name__ == "__main__":
    main()

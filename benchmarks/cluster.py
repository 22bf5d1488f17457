"""What can the process that hands out rows do? Sleeping workers, a killed node, a search in shards.

    python benchmarks/cluster.py capacity [--microseconds 70] [--blocks 30]
    python benchmarks/cluster.py kills [--seeds 0 1 2]
    python benchmarks/cluster.py search [--rows 100000]
    python benchmarks/cluster.py stages [--rows 100000]
    python benchmarks/cluster.py learning [--steps 30]

`capacity`: the model takes a fixed time for each row, in which it sleeps, so that many workers fit
on few cores. Rows lie in a Parquet file that the workers read, finished blocks in a folder that
they write. Prints rows a second for 1, 2, 4, 8 and 16 workers, each with as many rows, and the CPU
seconds of this process, and of the workers, for a million rows. The workers have started, and have
imported torch, before the time is taken.

`kills`: an audit on five Ray nodes on this machine (`ray.cluster_utils.Cluster`), three of which
have a worker; a node chosen at random, but for the one that this process is on, is killed at a
moment chosen at random. Batch norm is frozen and every step is cut into pieces, so that workers
learn, too. Prints how far the probabilities of the undisturbed audit are from those of
`engine: local`, and compares the tables of the others with it.

`search`: the search for leaks among rows and suspects of random words, here and by two workers; CPU
seconds of this process, and whether the matches are the same.

`stages`: a whole audit of table rows (benchmarks/whole_audit.py), here and with two workers; CPU
seconds of this process for a million rows, stage by stage.

`learning`: a convolutional network with group norm and dropout learns 64 random pictures a step as
the mirror does, by AdamW and by Muon: here in whole steps, also from weights changed by 1e-7, here
in pieces, by 1, 2 and 4 workers, and by 4 of which one is killed on the way. Prints seconds, and
the largest difference of a weight from that learned here, in pieces and in whole steps, as a share
of the largest weight of its tensor.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import ray
import torch
from ray.cluster_utils import Cluster as Nodes
from torch import nn
from whole_audit import AUDIT, MeteredClock, write

from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.likeness.matching import Matcher
from dataaudit.likeness.parts import parts_done_by
from dataaudit.likeness.texts import describe_texts
from dataaudit.mirror import learners
from dataaudit.mirror.finite import FiniteSettings, Part, finite_mirror
from dataaudit.mirror.learners import Learners
from dataaudit.models.trained import TrainedModel
from dataaudit.report.result import AuditResult
from dataaudit.resources import resource_folder
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring import local
from dataaudit.scoring.blocks import ScoreBlocks
from dataaudit.scoring.cluster import Cluster, Crew
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.scoring.ray import RayEngine
from dataaudit.stages import auditing
from dataaudit.stages.auditing import run_file
from dataaudit.tasks import Classification

COLUMNS = ["a", "b", "c", "d"]
ROWS_PER_GROUP = 65_536
BATCH = 4096
BLOCK = 64


class Sleeping(nn.Module):
    """Takes a fixed time for each row."""

    def __init__(self, seconds_per_row: float) -> None:
        super().__init__()
        self.seconds_per_row = seconds_per_row

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        time.sleep(len(rows) * self.seconds_per_row)
        return rows


def numbers(frame: pd.DataFrame) -> torch.Tensor:
    return torch.from_numpy(frame[COLUMNS].to_numpy(np.float32, copy=True))


def write_rows(path: Path, rows: int) -> None:
    generator = np.random.default_rng(0)
    columns = {name: generator.normal(size=rows).astype(np.float32) for name in COLUMNS}
    table = pa.table(columns | {"label": np.arange(rows) % 2})
    pyarrow.parquet.write_table(table, path, row_group_size=ROWS_PER_GROUP)


def capacity(blocks: int, seconds_per_row: float) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(Sleeping(seconds_per_row), nn.Linear(len(COLUMNS), 2)).eval()
    model = TrainedModel(module, numbers, "sleeping")
    task = Classification(2)
    ray.init("local", num_cpus=16, include_dashboard=False, log_to_driver=False)
    one = 0.0
    with tempfile.TemporaryDirectory() as folder, Cluster() as cluster:
        for workers in (1, 2, 4, 8, 16):
            cluster.workers = workers
            rows = workers * blocks * BATCH
            path = Path(folder) / f"{workers}.parquet"
            write_rows(path, rows)
            before = time.process_time()
            samples = open_samples(path, ReadSettings("train", "label"))
            opening = (time.process_time() - before) * 1e6 / rows
            theirs = warm_up(cluster)
            engine = RayEngine(BATCH, cluster)
            found = ScoreBlocks(Steps(Path(folder) / str(workers), tie="benchmark"))
            began, before = time.perf_counter(), time.process_time()
            assert list(engine.score(model, task, samples, [], into=found)) == []
            rate = rows / (time.perf_counter() - began)
            own = (time.process_time() - before) * 1e6 / rows
            theirs = (warm_up(cluster) - theirs) * 1e6 / rows
            one = one or rate
            before = time.process_time()
            assert sum(len(block) for block in found) == rows
            back = (time.process_time() - before) * 1e6 / rows
            print(
                f"{workers:>2} workers, {rows:>9,} rows: {rate:>9,.0f} rows/s, {rate / one:.1f} x "
                f"one; CPU s a million rows: opening {opening:.2f}, scoring {own:.2f}, reading "
                f"back {back:.2f}, workers {theirs:.2f}; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    ray.shutdown()


class Warm:
    """Imports what a worker needs: seconds of CPU time each, which are no part of what is timed."""

    def __init__(self) -> None:
        import dataaudit.mirror.learners
        import dataaudit.scoring.ray  # noqa: F401

    def ready(self) -> float:
        return time.process_time()


def warm_up(cluster: Cluster) -> float:
    """Wait until all workers have imported torch; return the CPU seconds they have taken so far."""
    return sum(ray.get([*cluster.crew(Warm, cluster.workers)._starting]))


def kills(seeds: list[int]) -> None:
    # Small blocks, so that a node has some of them whenever it is killed.
    local._ROWS_PER_BLOCK = BLOCK
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo"
        shutil.copytree(resource_folder("sample_data"), demo)
        yaml = demo / "audit.yaml"
        text = yaml.read_text(encoding="utf-8") + f"\nbatch_size: {BLOCK}\n"
        text = text.replace("mirror: {", "mirror: {batch_norm: frozen, ")
        yaml.write_text(text, encoding="utf-8")
        # In pieces, and by workers, however little there is to compute.
        learners.is_cut = learners.quicker_there = lambda *_: True
        here = run_file(yaml, demo / "local")
        yaml.write_text(text + "engine: {kind: ray, address: auto, workers: 3}\n", encoding="utf-8")
        seconds, expected = _audited(yaml, demo / "undisturbed", None)
        gaps = {
            name: float(abs(getattr(expected, name)[column] - getattr(here, name)[column]).max())
            for name, column in (("mislabels", "probability"), ("contamination", "p_value"))
        }
        print(f"undisturbed: on the cluster for {seconds:.1f} s, from local: {gaps}", flush=True)
        for seed in seeds:
            moment = random.Random(seed).uniform(0, seconds)
            _, found = _audited(yaml, demo / f"killed{seed}", (seed, moment))
            for name in ("mislabels", "contamination"):
                table, wanted = getattr(found, name), getattr(expected, name)
                pd.testing.assert_frame_equal(table, wanted, rtol=1e-6)
            print(f"seed {seed}: a node killed after {moment:.1f} s, the same tables", flush=True)


def _audited(yaml: Path, out: Path, kill: tuple[int, float] | None) -> tuple[float, AuditResult]:
    """Audit on five nodes; return how long workers were asked, s, and the result."""
    nodes, others = _started()
    ray.init(address=nodes.address, log_to_driver=False)
    asked: list[float] = []
    killed: list[threading.Timer] = []
    crew = Cluster.crew

    def watched(self: Cluster, *arguments: Any, **options: Any) -> Crew:
        found = crew(self, *arguments, **options)
        if not asked and kill is not None:
            victim = random.Random(kill[0]).choice(others)
            killed.append(threading.Timer(kill[1], nodes.remove_node, (victim, False)))
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
    return asked[-1] - asked[0], found


def _started() -> tuple[Nodes, list[Any]]:
    """Start five nodes; on a busy machine one may take longer than the 30 s that Ray waits."""
    for left in (2, 1, 0):
        nodes = Nodes()
        try:
            nodes.add_node(num_cpus=0)
            return nodes, [nodes.add_node(num_cpus=1) for _ in range(4)]
        except Exception as error:
            nodes.shutdown()
            if not left:
                raise
            print(f"started again: {str(error)[:60]}", flush=True)
    raise AssertionError("unreachable")


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
        warm_up(cluster)
        began, before = time.perf_counter(), time.process_time()
        found = matcher.match(suspects)
        there = time.perf_counter() - began, time.process_time() - before
    for column in ("rows", "similarity", "score"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))
    for name, (seconds, own) in (("here", here), ("two workers", there)):
        print(f"{name}: {seconds:.1f} s, {own:.1f} CPU s in this process, {rows} rows")


def stages(rows: int) -> None:
    auditing.Clock = MeteredClock  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, "table", rows)
        yaml = folder / "audit.yaml"
        for engine in ("local", "ray"):
            yaml.write_text(f"{AUDIT}engine: {engine}\n", encoding="utf-8")
            run_file(yaml, folder / engine)
            manifest = json.loads((folder / engine / "manifest.json").read_text(encoding="utf-8"))
            for stage, seconds in manifest["timings_seconds"].items():
                print(f"{engine}, {stage}: {seconds * 1e6 / rows:.1f} CPU s a million rows")
        for table in ("mislabels", "contamination"):
            here, there = (
                pd.read_parquet(folder / e / f"{table}.parquet") for e in ("local", "ray")
            )
            pd.testing.assert_frame_equal(here, there, rtol=1e-6)


def pictures(steps: int) -> Iterator[list[Part]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        images = torch.randn(64, 3, 32, 32, generator=generator)
        yield [(images, torch.randint(0, 10, (64,), generator=generator))]


def network() -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(2048, 10)).eval()


def learning(steps: int) -> None:
    # Whether it pays or not.
    learners.is_cut = learners.quicker_there = lambda *_: True
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    with Cluster(4) as cluster:
        warm_up(cluster)
        for optimizer in ("adamw", "muon"):
            _learning_by(optimizer, steps, cluster)
    ray.shutdown()


def _learning_by(optimizer: Literal["adamw", "muon"], steps: int, cluster: Cluster) -> None:
    settings = FiniteSettings(
        steps=steps,
        learning_rate=4e-3,
        optimizer=optimizer,
        schedule="one cycle",
        average=max(0.0, 1 - 10 / steps),
        dropout=True,
    )
    module, task = network(), Classification(10)
    found: dict[str, Perturbation] = {}

    def batches(kill_at: int) -> Iterator[list[Part]]:
        for step, parts in enumerate(pictures(steps)):
            if step == kill_at:
                ray.kill(cluster._actors[0], no_restart=False)
            yield parts

    def learn(
        name: str,
        workers: int = 0,
        kill_at: int = -1,
        start: Perturbation = UNPERTURBED,
        *,
        whole: bool = False,
    ) -> None:
        cluster.workers = workers
        elsewhere = None if whole else Learners(cluster if workers else None)
        began, before = time.perf_counter(), time.process_time()
        found[name] = finite_mirror(
            module, task, batches(kill_at), settings, start, shown=False, elsewhere=elsewhere
        )
        seconds, own = time.perf_counter() - began, time.process_time() - before
        gaps = [
            f"{difference(found[name], found[other]):.1e} from {other}"
            for other in ("here in pieces", "here as a whole")
            if other in found and other != name
        ]
        print(
            f"{optimizer}, {name}: {steps} steps, {seconds:.1f} s, {own:.1f} CPU s of this "
            f"process; {', '.join(gaps) or 'itself'}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )

    learn("here as a whole", whole=True)
    learn("here in pieces")
    generator = torch.Generator().manual_seed(1)
    changed = {
        name: value * (1 + 1e-7 * torch.randn(value.shape, generator=generator))
        for name, value in module.state_dict().items()
    }
    learn("here as a whole, from changed weights", start=Perturbation(changed), whole=True)
    learn("1 worker", 1)
    learn("2 workers", 2)
    learn("4 workers", 4)
    learn("4 workers, one killed", 4, kill_at=steps // 2)


def difference(found: Perturbation, expected: Perturbation) -> float:
    return max(
        float((value - found.tensors[name]).abs().max() / value.abs().max())
        for name, value in expected.tensors.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("capacity", "kills", "search", "stages", "learning"))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--blocks", type=int, default=30, help="for each worker")
    parser.add_argument("--microseconds", type=float, default=70, help="that the model takes a row")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    chosen = parser.parse_args()
    if chosen.what == "capacity":
        capacity(chosen.blocks, chosen.microseconds / 1e6)
    elif chosen.what == "kills":
        kills(chosen.seeds)
    elif chosen.what == "search":
        search(chosen.rows or 100_000)
    elif chosen.what == "stages":
        stages(chosen.rows or 100_000)
    else:
        learning(chosen.steps)


if __name__ == "__main__":
    main()

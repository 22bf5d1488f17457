"""What do the mirrors cost, in bare forward passes?

    python benchmarks/scoring.py
    python benchmarks/scoring.py --models cifar --groups 1 10 --repeats 5

A bare pass reads and preprocesses the same rows in the same batches and runs the model once. The
mirrors do that and all that comes after: the groups' models, losses, scores to disk. Bare and
mirror take turns (ABAB), and the median over the pairs of their ratio is shown. Times are the
process's CPU seconds with one thread of torch, so that neighbours on a shared machine matter
little. A cell of many groups uses fewer rows, and one pair where a pair takes long; nothing is
extrapolated. Cells that are not asked for keep their last results. The queries' steps are
shown apart, in bare passes of as many rows as there are queries. Also shown: the same without the
loader (on one loaded batch, in forward passes for a group or the base). Results go to
benchmarks/results/scoring.json and .md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from scoring_models import Bench, adult, cifar, transformer

from dataaudit.config import config_from_python
from dataaudit.inputs import Loaded
from dataaudit.models.numerics import EXACT
from dataaudit.scoring.prefetch import prefetched
from dataaudit.stages.loading import load_objects
from dataaudit.studies.influence.blocks import write_block
from dataaudit.studies.influence.groups import query_groups
from dataaudit.studies.influence.mirrored import Mirrored
from dataaudit.studies.influence.ready import Maker
from dataaudit.studies.influence.settings import influence_settings
from dataaudit.studies.influence.streaming import joined_blocks, rows_per_block, scored_batches

HERE = Path(__file__).parent
MODELS = {"adult": adult, "cifar": cifar, "transformer": transformer}
MIRRORS: dict[str, dict[str, Any]] = {
    "finite": {"kind": "finite"},
    "linear": {"kind": "linear"},
    "head": {"kind": "head", "steps": 10},
    "head, first order": {"kind": "head", "first_order": True},
}
SECONDS = 0.2
"""A bare pass shorter than this is repeated until it is not."""


def main() -> None:
    options = _options()
    if not (options.data / "cifar10n_train.parquet").exists():
        sys.exit(f"{options.data} has no benchmark data; name its folder with --data")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "scoring.json"
    results = json.loads(kept.read_text("utf-8")) if kept.exists() else []
    for model in options.models:
        bench = MODELS[model](options.data)
        for mirror, groups in itertools.product(options.mirrors, options.groups):
            result = cell(bench, mirror, groups, options.repeats)
            print(line(result), flush=True)
            results = [old for old in results if _place(old) != _place(result)] + [result]
            results.sort(key=_place)
            kept.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
            text = "\n".join([*HEADER, *map(line, results), ""])
            kept.with_suffix(".md").write_text(text, "utf-8")


def _place(result: dict[str, Any]) -> tuple[str, int, int]:
    return result["model"], list(MIRRORS).index(result["mirror"]), result["groups"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--mirrors", nargs="+", choices=MIRRORS, default=list(MIRRORS))
    parser.add_argument("--groups", nargs="+", type=int, default=[1, 10, 100, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def cell(bench: Bench, mirror: str, groups: int, repeats: int) -> dict[str, Any]:
    """Measure one mirror with so many groups, each of one query."""
    per_row = 1 if mirror.startswith("head") else groups + 1
    fewest = 2 if bench.passes < 1000 else 16
    rows = min(len(bench.rows), max(fewest, bench.passes // per_row))
    batch_size = min(rows, bench.batch_size)
    repeats = 1 if rows * per_row > 2 * bench.passes else repeats
    loaded = load_objects(
        bench.module,
        {"train": bench.rows[:rows], "held_out": bench.queries[:groups]},
        bench.preprocess,
        config_from_python("label", None, {"classes": list(range(bench.classes))}),
    )
    assert loaded.held_out is not None
    found = query_groups(loaded.held_out, None)
    sample = loaded.train.take(range(min(3, rows)))
    trial = loaded.model.inputs(sample, loaded.train), torch.as_tensor(sample.labels)
    settings = influence_settings(MIRRORS[mirror])
    assert settings.kind != "auto"
    maker = Maker(loaded.model, loaded.task, loaded.held_out, settings, settings.kind, EXACT, trial)
    maker.ready(found[:1])  # The first steps of a process import what they need.
    ready, steps = _timed(lambda: maker.ready(found))
    with tempfile.TemporaryDirectory() as folder:
        loops = max(1, round(SECONDS / max(1e-3, _timed(lambda: bare(loaded, batch_size))[1])))
        pairs = []
        for _ in range(repeats):
            plain = _timed(lambda: [bare(loaded, batch_size) for _ in range(loops)])[1] / loops
            spent = _timed(lambda: mirrored(loaded, ready, groups, batch_size, Path(folder)))[1]
            pairs.append((plain, spent))
    plain = statistics.median(plain for plain, _ in pairs)
    return {
        "model": bench.name,
        "mirror": mirror,
        "groups": groups,
        "rows": rows,
        "pairs": repeats,
        "bare_passes": statistics.median(mine / before for before, mine in pairs),
        "steps_in_bare_passes": steps / (plain / rows * groups),
        "forward_passes_once_loaded": once_loaded(loaded, ready, batch_size, repeats),
    }


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    result = function()
    return result, time.process_time() - started


@torch.inference_mode()
def bare(loaded: Loaded, batch_size: int) -> None:
    """Read, preprocess, and run the model once; with the loader that the mirrors have."""
    rows = loaded.train
    for inputs in prefetched(
        loaded.model.inputs(batch, rows) for batch in rows.batches(batch_size)
    ):
        loaded.model.module(inputs)


def mirrored(loaded: Loaded, ready: Mirrored, groups: int, batch_size: int, folder: Path) -> None:
    """Score all rows and write the scores."""
    batches = scored_batches(loaded.model, loaded.train, ready, batch_size)
    length = rows_per_block(groups, batch_size)
    for block in joined_blocks(batches, length, 0, len(loaded.train)):
        write_block(folder, block)


def once_loaded(loaded: Loaded, ready: Mirrored, batch_size: int, repeats: int) -> float:
    """Return what a loaded batch costs, in forward passes of it: the loader left out."""
    batch = next(iter(loaded.train.batches(batch_size)))
    inputs, labels = loaded.model.inputs(batch, loaded.train), torch.as_tensor(batch.labels)

    @torch.inference_mode()
    def forward() -> None:
        loaded.model.module(inputs)

    loops = max(1, round(SECONDS / max(1e-4, _timed(forward)[1])))
    ratios = []
    for _ in range(repeats):
        plain = _timed(lambda: [forward() for _ in range(loops)])[1] / loops
        ratios.append(_timed(lambda: ready.changes(inputs, labels))[1] / plain)
    return statistics.median(ratios)


HEADER = [
    "| model | mirror | groups | rows | pairs | bare passes | a group or the base | once loaded | "
    "steps, each |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
]


def line(result: dict[str, Any]) -> str:
    """Return a line of the table."""
    passes, groups = result["bare_passes"], result["groups"]
    shown = [
        result["model"],
        result["mirror"],
        f"{groups:,}",
        f"{result['rows']:,}",
        str(result["pairs"]),
        f"{passes:.2f}",
        f"{passes / (groups + 1):.2f}",
        f"{result['forward_passes_once_loaded'] / (groups + 1):.2f}",
        f"{result['steps_in_bare_passes']:.1f}",
    ]
    return f"| {' | '.join(shown)} |"


if __name__ == "__main__":
    main()

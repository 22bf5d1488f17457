"""What do influence methods cost, and what are they worth, on the same model, rows and queries?

    python benchmarks/scoring_peers.py

The mislabel benchmark's first setting: a network that memorized 6,000 rows of CIFAR-10N under
their noisy labels, and 1,000 held-out queries. Cost: CPU seconds with one thread of torch, in
bare forward passes over the rows (measured before and after each method, the mean of both).
Worth: average precision of the score at finding the wrong labels. Peers are run through their
own packages, and left out where those are not installed (docs/mislabels.md says how to install
them). Methods that are not asked for keep their last results. The trained model is kept under
benchmarks/cache. Results go to benchmarks/results/scoring_peers.json and .md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from influence_rivals import INFLUENCE_RIVALS
from mislabel_methods import Method, NotApplicableError, Workbench
from mislabel_ours import ours
from mislabel_rivals import trusted_only
from mislabel_settings import SETTINGS, make_problem
from mislabel_training import Meter, predict, trained_model
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

import dataaudit

HERE = Path(__file__).parent
STRONGEST = 20
"""Queries that speak most against a row; the peers' scores are made in the same way."""
ALL = ["held out"] * 1000
MIRRORS: dict[str, tuple[dict[str, Any], list[str] | None]] = {
    "head, first order, 1,000 groups": ({"kind": "head", "first_order": True}, None),
    "head, 10 steps, 1,000 groups": (
        {"kind": "head", "steps": 10, "optimizer": "adamw"},
        None,
    ),
    "linear, one group": ({"kind": "linear", "batch_size": 1000}, ALL),
    "finite, 20 steps, one group": (
        {"kind": "finite", "steps": 20, "optimizer": "adamw", "learning_rate": 1e-3},
        ALL,
    ),
    "finite, 60 steps, one group": (
        {"kind": "finite", "steps": 60, "optimizer": "adamw", "learning_rate": 1e-3},
        ALL,
    ),
    "finite, 150 steps, one group": (
        {"kind": "finite", "steps": 150, "optimizer": "adamw", "learning_rate": 1e-3},
        ALL,
    ),
}
METHODS: dict[str, Method] = INFLUENCE_RIVALS | {
    "a model of the trusted samples only": trusted_only,
    "an audit's mislabel score": ours,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--methods", nargs="+", default=[*MIRRORS, *METHODS])
    options = parser.parse_args()
    if not (options.data / "cifar10n_train.parquet").exists():
        sys.exit(f"{options.data} has no benchmark data; name its folder with --data")
    torch.set_num_threads(1)
    models = HERE / "cache" / "mislabels" / "models"
    models.mkdir(parents=True, exist_ok=True)
    problem = make_problem(SETTINGS[0], 0, options.data)
    bench = Workbench(problem, trained_model(problem, models), models)
    kept = HERE / "results" / "scoring_peers.json"
    results = json.loads(kept.read_text("utf-8")) if kept.exists() else []
    for name in options.methods:
        before = _seconds(lambda: predict(bench.module, problem.inputs))[1]
        try:
            score, seconds = _seconds(lambda name=name: scored(bench, name))
        except NotApplicableError as reason:
            print(f"{name}: not run: {reason}")
            continue
        after = _seconds(lambda: predict(bench.module, problem.inputs))[1]
        result = {
            "method": name,
            "bare_passes": 2 * seconds / (before + after),
            "average_precision": float(average_precision_score(problem.wrong, score)),
        }
        print(line(result), flush=True)
        results = [old for old in results if old["method"] != name] + [result]
        results.sort(key=lambda result: list(MIRRORS | METHODS).index(result["method"]))
        kept.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    header = ["| method | bare passes | average precision |", "| --- | --- | --- |"]
    kept.with_suffix(".md").write_text("\n".join([*header, *map(line, results), ""]), "utf-8")


def line(result: dict[str, Any]) -> str:
    """Return a line of the table."""
    passes, precision = result["bare_passes"], result["average_precision"]
    return f"| {result['method']} | {passes:.1f} | {precision:.3f} |"


def _seconds(function: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    result = function()
    return result, time.process_time() - started


def scored(bench: Workbench, name: str) -> NDArray[Any]:
    """Return how suspicious each row is, by one method; inputs are ready to be run for all."""
    if name in METHODS:
        with Meter() as meter:
            return METHODS[name](bench, meter).score
    mirror, groups = MIRRORS[name]
    problem = bench.problem
    with tempfile.TemporaryDirectory() as folder:
        found = dataaudit.mirrored_influence(
            bench.module,
            (problem.inputs, torch.tensor(problem.labels)),
            (problem.trusted, torch.tensor(problem.trusted_labels)),
            out=Path(folder) / "influence",
            groups=groups,
            mirror=mirror,
            classes=list(range(10)),
        )
        return found.per_row(strongest=STRONGEST)["score"].to_numpy()


if __name__ == "__main__":
    main()

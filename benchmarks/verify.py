"""The Mirrored Influence Hypothesis, held against training again: `python benchmarks/verify.py`.

Measured influences and scores are kept in benchmarks/cache; a second run only prints the table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from verify_studies import Case, cifar_network, digits_network, logistic_regression

from dataaudit.mirror.finite import FiniteSettings
from dataaudit.report.data import Estimate
from dataaudit.run_directory.manifest import versions
from dataaudit.studies.verification.agreement import (
    agreement,
    ceiling,
    pearson,
    spearman_within,
)
from dataaudit.studies.verification.examples import Examples
from dataaudit.studies.verification.measuring import (
    Rehearsal,
    Study,
    predicted,
    rehearsed_mirror,
    retrained_mirror,
    row_influences,
    stepped_mirror,
)

CACHE = Path(__file__).parent / "cache" / "verify"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PENALTIES = (0.01, 0.1, 1.0)
REPEATS = 2
STEPS = FiniteSettings(steps=38, learning_rate=1e-3, schedule="one cycle")
TRAINED_SEED = 1000
MIRRORS = {
    "retrained": "training again with the queries",
    "rehearsed": "38 steps on queries among rows",
    "steps": "38 steps on queries alone",
}


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    lines = _logistic_regression(arguments.seed)
    for name, make in _networks(arguments.seed).items():
        lines += _network(name, make, arguments.seed)
    print(_heading(arguments.seed))
    print("\n".join(lines))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _networks(seed: int) -> dict[str, Callable[[], Case]]:
    found: dict[str, Callable[[], Case]] = {"digits": lambda: digits_network(seed)}
    if (DATA / "cifar10n_train.parquet").exists():
        found["cifar"] = lambda: cifar_network(DATA, seed)
    else:
        print(f"{DATA}: no CIFAR rows there; that study is left out")
    return found


def _heading(seed: int) -> str:
    today = datetime.now(UTC).date().isoformat()
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{today}, seed {seed}; {found}\n"


def _logistic_regression(seed: int) -> list[str]:
    lines = [
        "| logistic regression, digits | held-out accuracy | Pearson | Spearman | seconds |",
        "|---|---|---|---|---|",
    ]
    for penalty in PENALTIES:
        found = _cached(f"logistic-{penalty:g}-{seed}", lambda p=penalty: _leave_one_out(p, seed))
        agreed = agreement(found["influence"], found["predicted"], seed)
        lines.append(
            f"| C = {penalty:g} | {found['accuracy']:.3f} | {_words(agreed.pearson, 4)} | "
            f"{_words(agreed.spearman, 4)} | {found['seconds']:.0f} |"
        )
    return [*lines, ""]


def _leave_one_out(penalty: float, seed: int) -> dict[str, Any]:
    case = logistic_regression(penalty, rows=1000, left_out=200, queries=50, seed=seed)
    start = time.perf_counter()
    groups = case.groups["single"]
    influence = row_influences(case.study, case.retrainer, groups, [seed])[0]
    scores = retrained_mirror(case.study, case.retrainer, [seed])
    module = case.retrainer.train(case.study.included(), seed)
    return {
        "influence": influence,
        "predicted": predicted(scores, groups),
        "accuracy": _accuracy(case.study.queries, module),
        "seconds": time.perf_counter() - start,
    }


def _network(name: str, make: Callable[[], Case], seed: int) -> list[str]:
    found = _cached(f"{name}-{seed}", lambda: _leave_groups_out(make(), seed))
    case = make()
    lines = [
        f"**{case.name}**: held-out accuracy {found['accuracy']:.3f}, train accuracy "
        f"{found['train_accuracy']:.3f}, {found['seconds']:.0f} s",
        "",
        "| groups | mirror | Pearson, all queries as one | Pearson, by class | Spearman, by class "
        "| mean Spearman within classes | reachable |",
        "|---|---|---|---|---|---|---|",
    ]
    for design, groups in case.groups.items():
        measured = found[f"influence {design}"]
        mean = measured.mean(axis=0)
        best = ceiling(measured)
        for mirror, words in MIRRORS.items():
            prediction = predicted(found[f"scores {mirror}"], groups)
            together = predicted(found[f"together {mirror}"][:, None], groups)[:, 0]
            agreed = agreement(mean, prediction, seed)
            lines.append(
                f"| {design} | {words} | {pearson(mean.mean(axis=1), together):.3f} | "
                f"{_words(agreed.pearson)} | {_words(agreed.spearman)} | "
                f"{spearman_within(mean, prediction):.3f} | "
                f"{'—' if best is None else f'{best:.3f}'} |"
            )
    return [*lines, ""]


def _leave_groups_out(case: Case, seed: int) -> dict[str, Any]:
    start = time.perf_counter()
    study, retrainer = case.study, case.retrainer
    seeds = [seed + repeat for repeat in range(REPEATS)]
    whole = Study(study.task, study.rows, study.queries, [np.arange(len(study.queries))])
    trained = retrainer.train(study.included(), TRAINED_SEED + seed)
    retrained = retrained_mirror(study, retrainer, seeds)
    return {
        **{
            f"influence {design}": row_influences(study, retrainer, groups, seeds)
            for design, groups in case.groups.items()
        },
        "scores retrained": retrained,
        # Added one class at a time, and summed: the same first order as all at once.
        "together retrained": retrained.sum(axis=1),
        "scores rehearsed": rehearsed_mirror(study, trained, STEPS, Rehearsal()),
        "together rehearsed": rehearsed_mirror(whole, trained, STEPS, Rehearsal())[:, 0],
        "scores steps": stepped_mirror(study, trained, STEPS),
        "together steps": stepped_mirror(whole, trained, STEPS)[:, 0],
        "accuracy": _accuracy(study.queries, trained),
        "train_accuracy": _accuracy(study.rows, trained),
        "seconds": time.perf_counter() - start,
    }


def _accuracy(examples: Examples, module: torch.nn.Module) -> float:
    with torch.inference_mode():
        chosen = module(examples.inputs).argmax(dim=1)
    return float((chosen == examples.labels).double().mean())


def _cached(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return arrays and numbers from the cache, or make and keep them."""
    arrays, numbers = CACHE / f"{name}.safetensors", CACHE / f"{name}.json"
    if not numbers.exists():
        found = make()
        CACHE.mkdir(parents=True, exist_ok=True)
        kept = {key: value for key, value in found.items() if isinstance(value, np.ndarray)}
        save_file({key: np.ascontiguousarray(value) for key, value in kept.items()}, arrays)
        rest = {key: value for key, value in found.items() if key not in kept}
        numbers.write_text(json.dumps(rest), encoding="utf-8")
    return {**load_file(arrays), **json.loads(numbers.read_text(encoding="utf-8"))}


def _words(found: Estimate | None, digits: int = 3) -> str:
    if found is None:
        return "—"
    return f"{found.estimate:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


if __name__ == "__main__":
    main()

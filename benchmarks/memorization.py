"""Memorization by relearning halves, held against subset retraining.

`python benchmarks/memorization.py` trains 60 models on random 70 % of 1,200 CIFAR-10N rows for
each seed (seed 0 is the one that the settings were chosen on) and caches what each says.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import memorization_truth as subset_retraining
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

import dataaudit
from dataaudit.mirror.finite import FiniteSettings, finite_mirror
from dataaudit.run_directory.manifest import versions
from dataaudit.studies.memorization.settings import MemorizationSettings
from dataaudit.studies.verification.examples import Examples, losses
from dataaudit.studies.verification.retraining import Descent

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ROWS, MODELS = 1200, 60
GROUP, DRAWS, STEPS, LEARNING_RATE = 20, 4, 3, 1e-4
"""Of unlearning: rows unlearned together, random partitions, steps, their length."""

Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if not (DATA / "cifar10n_train.parquet").exists():
        raise SystemExit(f"{DATA}: no CIFAR rows there; see shared/data")
    today = datetime.now(UTC).date().isoformat()
    print(f"{today}; {', '.join(f'{name} {version}' for name, version in versions().items())}\n")
    for seed in arguments.seeds:
        print("\n".join(_table(seed)), flush=True)


def _table(seed: int) -> list[str]:
    frame = subset_retraining.read(DATA, ROWS, seed)
    descent = subset_retraining.trainer(frame)
    truth = subset_retraining.truth(descent, MODELS, seed)
    module = subset_retraining.trained_model(descent, seed)
    full = subset_retraining.training_cost(ROWS, MODELS)
    target = truth.memorization()
    halves = [
        subset_retraining.Truth(
            truth.included[part], truth.probabilities[part], truth.right[part]
        ).memorization()
        for part in (slice(0, None, 2), slice(1, None, 2))
    ]
    inside = truth.right[truth.included].mean()
    lines = [
        f"**Seed {seed}**: {ROWS} rows, {frame['wrong'].mean():.1%} labels wrong; models trained "
        f"on 70 %: accuracy {inside:.3f} on these, {truth.right[~truth.included].mean():.3f} on "
        f"the others; the two halves of the {MODELS} models agree at Spearman "
        f"{_spearman(*halves):.3f}",
        "",
        f"| method | Spearman with {MODELS} models | with their probabilities | forward passes a "
        "row | share of the cost | area under the curve, wrong labels | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    by_probability = truth.by_probability()
    wrong = frame["wrong"].to_numpy()
    for name, scores, cost, seconds in _methods(frame, descent, truth, module, seed):
        lines.append(
            f"| {name} | {_spearman(scores, target):.3f} | "
            f"{_spearman(scores, by_probability):.3f} | {cost / ROWS:,.0f} | 1/{full / cost:.0f} | "
            f"{_area(scores, wrong):.3f} | {seconds:.0f} |"
        )
    lines.append(f"| {MODELS} models | | | {full / ROWS:,.0f} | 1 | {_area(target, wrong):.3f} | |")
    return [*lines, ""]


def _methods(
    frame: pd.DataFrame,
    descent: Descent,
    truth: subset_retraining.Truth,
    module: nn.Module,
    seed: int,
) -> Iterator[tuple[str, Floats, float, float]]:
    """Yield (name, scores `[rows]`, cost in forward passes, seconds)."""
    likelihood = np.exp(-losses(module, descent.task, descent.examples))
    yield "1 − likelihood under the trained model", 1 - likelihood, ROWS, 0.0
    few = MODELS // 20
    cost = subset_retraining.training_cost(ROWS, few)
    yield f"{few} models on subsets", truth.first(few).memorization(), cost, 0.0
    start = time.perf_counter()
    changes, cost = _unlearned(descent.examples, module, descent, likelihood, seed)
    seconds = time.perf_counter() - start
    yield f"unlearned in groups of {GROUP}, {DRAWS} draws", changes, cost, seconds
    settings = MemorizationSettings()
    start = time.perf_counter()
    result = dataaudit.memorization(
        module,
        frame[["image", "label"]],
        preprocess=subset_retraining.preprocess,
        classes=list(range(10)),
        mirror={"seed": seed},
        settings=settings,
    )
    yield (
        "**halves relearned (`dataaudit memorization`)**",
        result.rows["memorization"].to_numpy(),
        settings.forward_passes(ROWS),
        time.perf_counter() - start,
    )


def _unlearned(
    examples: Examples, module: nn.Module, descent: Descent, likelihood: Floats, seed: int
) -> tuple[Floats, float]:
    """Return how much likelihood each row loses when its group is unlearned, and the cost."""
    settings = FiniteSettings("unlearn", steps=STEPS, learning_rate=LEARNING_RATE)
    lost = np.zeros(ROWS)
    generator = np.random.default_rng(seed)
    for _ in range(DRAWS):
        for group in np.array_split(generator.permutation(ROWS), ROWS // GROUP):
            part = examples.part(group)
            steps = ([part] for _ in range(STEPS))
            after = finite_mirror(module, descent.task, steps, settings).copy_of(module)
            found = np.exp(-losses(after, descent.task, Examples(*part)))
            lost[group] += (likelihood[group] - found) / DRAWS
    return lost, float(ROWS * (DRAWS * (3 * STEPS + 1) + 1))


def _spearman(one: Floats, other: Floats) -> float:
    return float(spearmanr(one, other).statistic)


def _area(scores: Floats, wrong: NDArray[np.bool_]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(wrong, scores))


if __name__ == "__main__":
    main()

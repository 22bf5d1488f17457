"""Several annotators, simulated: the audit's consensus beside majority and cleanlab's CROWDLAB.

    python benchmarks/other_tasks.py annotators

Digits (scikit-learn), 800 rows labelled by 3 to 50 annotators, 1 to 5 labels a row (1: every fourth
row has a second label, because CROWDLAB refuses rows of one label throughout). Annotators err alike
on all classes; or three of ten of them answer whatever the row is; or each takes some classes for
others. A logistic regression is fitted to the majority; 200 further digits are trusted. CROWDLAB is
given the probabilities of the same model out of fold, fitted on the trusted rows as well.
Annotators are ranked against the share of their labels that is right (Spearman).

At last a real set: small pictures with three labels each that people gave (CIFAR-10N in
../shared/data: the aggregate, one at random, the worst; left out with a message where it is
absent), by their colours and edges.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from calibration_cells import read
from cleanlab.multiannotator import get_label_quality_multiannotator, get_majority_vote_label
from kind_lines import DATA
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

import dataaudit

ROWS, TRUSTED, CLASSES = 800, 200, 10
PICTURES = 2000
MODEL = LogisticRegression(max_iter=100, C=0.1)
SEEDS = (0, 1, 2)
"""None of them was used while the method was made; those were 100 to 103."""
KINDS = ("alike", "spammers", "by class")
COLUMNS = [
    "annotators", "labels a row", "they err", "majority", "CROWDLAB", "dataaudit", "claimed",
    "ranking, CROWDLAB", "ranking, dataaudit", "precision", "claimed precision", "recall",
    "wrong", "estimated", "seconds",
]  # fmt: skip


def main() -> None:
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    behind = 0
    for annotators, labels, kind in product((3, 10, 50), (1, 2, 3, 5), KINDS):
        if labels > annotators:
            continue
        found = pd.DataFrame([measured(seed, annotators, labels, kind) for seed in SEEDS]).mean()
        cells = [f"{value:.3f}" for value in found[:-1]] + [f"{found.iloc[-1]:.0f}"]
        print(f"| {annotators} | {labels} | {kind} | " + " | ".join(cells) + " |", flush=True)
        behind += found["dataaudit"] < found["CROWDLAB"]
        behind += found["ranking, dataaudit"] < found["ranking, CROWDLAB"]
    for line in pictures():
        print(line, flush=True)
    print(f"\nbehind CROWDLAB in {behind} simulated means")


def pictures() -> Iterator[str]:
    """Yield the line of the real set, or none where it is not there."""
    if not (DATA / "cifar10n_train.parquet").exists():
        print(f"left out: pictures, because there is no cifar10n_train.parquet in {DATA}")
        return
    inputs, truth, by_people = read("pictures", DATA)
    inputs = (inputs - inputs.mean(axis=0)) / (inputs.std(axis=0) + 1e-9)
    given = np.stack(list(by_people.values()), axis=1).astype(np.float64)
    lines = []
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(truth))
        rows, trusted = order[:PICTURES], order[PICTURES : PICTURES + TRUSTED]
        lines.append(
            compared(
                (inputs[rows], truth[rows]), (inputs[trusted], truth[trusted]), given[rows], seed
            )
        )
    found = pd.DataFrame(lines).mean()
    cells = [f"{value:.3f}" for value in found[:-1]] + [f"{found.iloc[-1]:.0f}"]
    yield f"| 3 | 3 | people, pictures | {' | '.join(cells)} |"


def simulated(
    generator: np.random.Generator, truth: np.ndarray, annotators: int, labels: int, kind: str
) -> np.ndarray:
    """Return what each annotator gave each row, NaN where nothing, `[rows, annotators]`."""
    confusions = np.zeros((annotators, CLASSES, CLASSES))
    for confusion in confusions:
        right = np.full(CLASSES, generator.uniform(0.4, 0.95))
        mistakes = np.ones((CLASSES, CLASSES))
        if kind == "by class":
            right = np.clip(generator.normal(right, 0.25), 0.05, 0.98)
            mistakes = generator.dirichlet(np.full(CLASSES, 0.2), CLASSES) + 1e-9
        np.fill_diagonal(mistakes, 0.0)
        mistakes /= mistakes.sum(axis=1, keepdims=True)
        confusion[:] = np.diag(right) + (1 - right)[:, None] * mistakes
    if kind == "spammers":
        for person in generator.permutation(annotators)[: max(1, annotators * 3 // 10)]:
            habit = np.full(CLASSES, 1 / CLASSES)
            if generator.random() < 0.5:
                habit = generator.dirichlet(np.full(CLASSES, 0.3))
            confusions[person] = habit
    given = np.full((len(truth), annotators), np.nan)
    for row, label in enumerate(truth):
        many = labels if labels > 1 else 1 + (generator.random() < 0.25)
        for person in generator.permutation(annotators)[:many]:
            given[row, person] = generator.choice(CLASSES, p=confusions[person, label])
    return given


def measured(seed: int, annotators: int, labels: int, kind: str) -> dict[str, float]:
    generator = np.random.default_rng([seed, annotators, labels, KINDS.index(kind)])
    images, digit = load_digits(return_X_y=True)
    order = generator.permutation(len(digit))
    rows, trusted = order[:ROWS], order[ROWS : ROWS + TRUSTED]
    given = simulated(generator, digit[rows], annotators, labels, kind)
    given = given[:, ~np.isnan(given).all(axis=0)]
    return compared(
        (images[rows] / 16, digit[rows]), (images[trusted] / 16, digit[trusted]), given, seed
    )


def compared(
    rows: tuple[np.ndarray, np.ndarray],
    held_out_rows: tuple[np.ndarray, np.ndarray],
    given: np.ndarray,
    seed: int,
) -> dict[str, float]:
    """Return how right each consensus is, and the rest of a line.

    `rows` and `held_out_rows` are inputs and true classes; `given` is `[rows, annotators]`.
    """
    (inputs, truth), (held_out, known) = rows, held_out_rows
    people = [f"annotator {person}" for person in range(given.shape[1])]
    majority = np.asarray(get_majority_vote_label(pd.DataFrame(given)))
    rival = crowdlab(inputs, majority, held_out, known, given, seed)

    pixels = [f"pixel {place}" for place in range(inputs.shape[1])]
    train = pd.DataFrame(inputs, columns=pixels)
    train[people] = given
    train["label"] = majority
    table = pd.DataFrame(held_out, columns=pixels).assign(label=known)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "audit"
        result = dataaudit.audit(
            clone(MODEL).fit(train[pixels], majority), train, table, labels=people, out=out,
            mirror={"seed": seed},
        )  # fmt: skip
        consensus = pd.read_parquet(out / "consensus.parquet")
        quality = pd.read_parquet(out / "annotators.parquet").set_index("annotator")["quality"]
    seconds = time.monotonic() - started
    right = given == truth[:, None]
    share = right.sum(axis=0) / (~np.isnan(given)).sum(axis=0)
    flagged = result.mislabels["flagged"].to_numpy()
    wrong = majority != truth
    return {
        "majority": np.mean(~wrong),
        "CROWDLAB": np.mean(rival["label_quality"]["consensus_label"].to_numpy() == truth),
        "dataaudit": np.mean(consensus["consensus_label"].to_numpy() == truth),
        "claimed": consensus["probability"].mean(),
        "ranking, CROWDLAB": spearmanr(
            rival["annotator_stats"].sort_index()["annotator_quality"], share
        )[0],
        "ranking, dataaudit": spearmanr(quality.loc[people], share)[0],
        "precision": wrong[flagged].mean(),
        "claimed precision": result.mislabels["probability"][flagged].mean(),
        "recall": wrong[flagged].sum() / wrong.sum(),
        "wrong": wrong.mean(),
        "estimated": result.report.labels.noise_rate.estimate,
        "seconds": seconds,
    }


def crowdlab(
    inputs: np.ndarray,
    majority: np.ndarray,
    held_out: np.ndarray,
    known: np.ndarray,
    given: np.ndarray,
    seed: int,
) -> Any:
    probabilities = np.zeros((len(inputs), CLASSES))
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    for learned, asked in folds.split(inputs, majority):
        fitted = clone(MODEL).fit(
            np.concatenate([inputs[learned], held_out]), np.concatenate([majority[learned], known])
        )
        probabilities[asked] = fitted.predict_proba(inputs[asked])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_label_quality_multiannotator(pd.DataFrame(given), probabilities, verbose=False)

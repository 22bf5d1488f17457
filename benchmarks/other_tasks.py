"""Planted errors in regression targets and label sets of real data: what is found, and how surely.

    python benchmarks/other_tasks.py
    python benchmarks/other_tasks.py regression        these alone
    python benchmarks/other_tasks.py annotators        several annotators: annotators.py
    python benchmarks/other_tasks.py entities FOLDER   real errors in tags: entities.py
    python benchmarks/other_tasks.py boxes             boxes in pictures: boxes.py
    python benchmarks/other_tasks.py preferences       swapped pairs of answers: preferences.py
    python benchmarks/other_tasks.py instructions      answers that do not fit: instructions.py
    python benchmarks/other_tasks.py masks             masks of pictures: masks.py

Needs scikit-learn's own data sets, and for census hours and grades adult.parquet and
student_grades.parquet in ../shared/data (left out with a message where they are absent). cleanlab's
regression scores, which refit the model, are given the trusted rows as further rows. Writes
benchmarks/results/other_tasks.md. The suggestion is
right, of sets, where it is the true one; of targets, within one standard deviation of the truth.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cleanlab.regression.learn import CleanLearning
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import average_precision_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import dataaudit

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "shared" / "data"
POINTS = {"A": 4.0, "B": 3.0, "C": 2.0, "D": 1.0, "F": 0.0}
RESULT = HERE / "results" / "other_tasks.md"
SEEDS = (0, 1, 2)
"""None was used while methods were made; those were 10 to 12."""
SHARE = 0.08
COLUMNS = [
    "setting", "average precision", "by loss alone", "cleanlab", "flagged", "precision", "recall",
    "claimed precision", "estimated rate [interval]", "suggestion", "seconds",
]  # fmt: skip
FACTS = {
    "even": (0, 2, 4, 6, 8),
    "large": (5, 6, 7, 8, 9),
    "prime": (2, 3, 5, 7),
    "loop": (0, 6, 8, 9),
}


def main(kinds: list[str]) -> None:
    torch.set_num_threads(1)
    lines = []
    makers = {"regression": regression, "sets": label_sets}
    for line in chain.from_iterable(makers[kind]() for kind in kinds or makers):
        print(" | ".join(line), flush=True)
        lines.append(line)
    table = ["| " + " | ".join(line) + " |" for line in [COLUMNS, ["---"] * len(COLUMNS), *lines]]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(table) + "\n", encoding="utf-8")


def spoiled_targets(
    targets: np.ndarray, kind: str, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return targets with errors of one kind, and which are wrong."""
    wrong = np.zeros(len(targets), dtype=bool)
    wrong[generator.permutation(len(targets))[: round(SHARE * len(targets))]] = True
    if kind == "clean":
        wrong[:] = False
    new = targets.copy()
    spread = targets.std()
    for row in np.flatnonzero(wrong):
        if kind == "decimal point":
            new[row] = targets[row] * 10
        elif kind == "4 deviations":
            new[row] += generator.choice([-1, 1]) * 4 * spread
        else:
            far = np.flatnonzero(np.abs(targets - targets[row]) > 1.5 * spread)
            new[row] = targets[generator.choice(far)]
    return new, wrong


def regression() -> Iterator[list[str]]:
    diabetes = load_diabetes(as_frame=True).frame
    makers: dict[str, Callable[[int], Any]] = {
        "linear": lambda seed: LinearRegression(),
        "forest": lambda seed: RandomForestRegressor(100, random_state=seed),
    }
    for name, make in makers.items():
        for kind in ("clean", "decimal point", "4 deviations", "swapped"):
            yield from audited_targets(f"diabetes / {name} / {kind}", diabetes, 300, make, kind)
    yield from grades(makers)
    if not (DATA / "adult.parquet").exists():
        print(f"left out: census hours, because there is no adult.parquet in {DATA}")
        return
    adult = pd.read_parquet(DATA / "adult.parquet").dropna()
    adult = adult.rename(columns={"hours_per_week": "target", "hours-per-week": "target"})
    words = list(adult.select_dtypes(exclude="number").columns)

    def census(seed: int) -> Any:
        numbers = [c for c in adult.columns if c not in words and c != "target"]
        prepared = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
            (StandardScaler(), numbers),
        )
        return make_pipeline(
            prepared, MLPRegressor(hidden_layer_sizes=(64,), max_iter=20, random_state=seed)
        )

    for kind in ("clean", "decimal point", "4 deviations"):
        yield from audited_targets(f"census hours / perceptron / {kind}", adult, 3000, census, kind)


def grades(makers: dict[str, Callable[[int], Any]]) -> Iterator[list[str]]:
    """Grades of exams as numbers, with their real errors."""
    if not (DATA / "student_grades.parquet").exists():
        print(f"left out: grades, because there is no student_grades.parquet in {DATA}")
        return
    table = pd.read_parquet(DATA / "student_grades.parquet").fillna({"notes": "none"})
    marks = pd.get_dummies(table[["exam_1", "exam_2", "exam_3", "notes"]], dtype=float)
    marks["target"] = table["letter_grade"].map(POINTS)
    given = table["noisy_letter_grade"].map(POINTS)
    for name, make in makers.items():
        yield from audited_targets(f"grades / {name} / real", marks, 400, make, "real", given)


def audited_targets(
    setting: str,
    table: pd.DataFrame,
    rows: int,
    make: Callable[[int], Any],
    kind: str,
    real: pd.Series | None = None,
) -> Iterator[list[str]]:
    """Yield a line for each seed; `real` are given targets where errors are not planted."""
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        shuffled = table.sample(frac=1, random_state=seed)
        own = None if real is None else real[shuffled.index[:rows]].to_numpy()
        shuffled = shuffled.reset_index(drop=True)
        shuffled["target"] = shuffled["target"].astype(float)
        train, trusted = shuffled[:rows].copy(), shuffled[rows : rows + 400]
        right = train["target"].to_numpy()
        if own is None:
            given, wrong = spoiled_targets(right, kind, generator)
        else:
            given, wrong = own, own != right
        train["target"] = given
        model = make(seed).fit(train.drop(columns="target"), given)
        loss = np.abs(given - model.predict(train.drop(columns="target")))
        started = time.monotonic()
        result = dataaudit.audit(
            model, train, trusted, task="regression", label="target", mirror={"seed": seed}
        )
        seconds = time.monotonic() - started
        found = result.mislabels
        spread = right.std()
        close = np.abs(found["suggested_label"].to_numpy() - right) < spread
        rival = cleanlab_scores(make(seed), train, trusted, seed)
        yield line_of(f"{setting} / {seed}", result, wrong, loss, close, seconds, rival)


def cleanlab_scores(
    model: Any, train: pd.DataFrame, trusted: pd.DataFrame, seed: int
) -> np.ndarray:
    """Return cleanlab's suspicion of each training row, the trusted ones fitted beside them."""
    every = pd.concat([train, trusted], ignore_index=True)
    found = CleanLearning(model, seed=seed).find_label_issues(
        every.drop(columns="target"), every["target"].to_numpy()
    )
    return 1 - found["label_quality"].to_numpy()[: len(train)]


def label_sets() -> Iterator[list[str]]:
    images, digit = load_digits(return_X_y=True)
    for epochs in (8, 40, 150):
        for seed in SEEDS:
            generator = np.random.default_rng(seed)
            order = generator.permutation(len(digit))
            truth = np.stack([np.isin(digit[order], which) for which in FACTS.values()], axis=1)
            truth = truth.astype(np.int64)
            inputs = torch.tensor(images[order] / 16, dtype=torch.float32)
            given = truth[:1000].copy()
            wrong = np.zeros(1000, dtype=bool)
            wrong[generator.permutation(1000)[: round(SHARE * 1000)]] = True
            for row in np.flatnonzero(wrong):
                place = generator.integers(len(FACTS))
                given[row, place] = 1 - given[row, place]
            network = trained(inputs[:1000], torch.tensor(given).float(), epochs, seed)
            with torch.inference_mode():
                loss = nn.functional.binary_cross_entropy_with_logits(
                    network(inputs[:1000]), torch.tensor(given).float(), reduction="none"
                ).sum(dim=1)
            names = list(FACTS)
            pixels = pd.DataFrame(inputs.numpy(), columns=[f"p{place}" for place in range(64)])
            train = pixels[:1000].assign(**dict(zip(names, given.T, strict=True)))
            trusted = pixels[1000:1300].assign(**dict(zip(names, truth[1000:1300].T, strict=True)))
            started = time.monotonic()
            result = dataaudit.audit(
                network,
                train,
                trusted,
                task="multi-label",
                label=names,
                preprocess=lambda frame: torch.tensor(
                    frame.filter(regex=r"^p\d").to_numpy(), dtype=torch.float32
                ),
                mirror={"seed": seed},
            )
            seconds = time.monotonic() - started
            texts = [
                "|".join(name for name, is_in in zip(names, row, strict=True) if is_in) or "(none)"
                for row in truth[:1000]
            ]
            same = result.mislabels["suggested_label"].to_numpy() == np.array(texts, dtype=object)
            setting = f"digits, 4 facts / {epochs} epochs / {seed}"
            yield line_of(setting, result, wrong, loss.numpy(), same, seconds)


def trained(inputs: torch.Tensor, labels: torch.Tensor, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, labels.shape[1]))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(50):
            loss = nn.functional.binary_cross_entropy_with_logits(
                network(inputs[batch]), labels[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


def line_of(
    setting: str,
    result: dataaudit.AuditResult,
    wrong: np.ndarray,
    loss: np.ndarray,
    suggestion_right: np.ndarray,
    seconds: float,
    rival: np.ndarray | None = None,
) -> list[str]:
    table = result.mislabels
    flagged = table["flagged"].to_numpy()
    rate = result.report.labels.noise_rate
    some = wrong.any()
    return [
        setting,
        f"{average_precision_score(wrong, table['score']):.3f}" if some else "",
        f"{average_precision_score(wrong, loss):.3f}" if some else "",
        f"{average_precision_score(wrong, rival):.3f}" if some and rival is not None else "",
        str(int(flagged.sum())),
        f"{wrong[flagged].mean():.2f}" if flagged.any() else "",
        f"{wrong[flagged].sum() / wrong.sum():.2f}" if some else "",
        f"{table['probability'][flagged].mean():.2f}" if flagged.any() else "",
        f"{rate.estimate:.3f} [{rate.low:.3f}, {rate.high:.3f}]",
        f"{suggestion_right[wrong].mean():.2f}" if some else "",
        f"{seconds:.0f}",
    ]


if __name__ == "__main__":
    # Beside this file; `benchmarks.tags` imports it as part of a package.
    import annotators
    import boxes
    import entities
    import instructions
    import masks
    import preferences

    if sys.argv[1:2] == ["annotators"]:
        annotators.main()
    elif sys.argv[1:2] == ["preferences"]:
        preferences.main()
    elif sys.argv[1:2] == ["instructions"]:
        instructions.main(*sys.argv[2:])
    elif sys.argv[1:2] == ["masks"]:
        masks.main(*sys.argv[2:])
    elif sys.argv[1:2] == ["entities"]:
        entities.main(*sys.argv[2:])
    elif sys.argv[1:2] == ["boxes"]:
        boxes.main()
    else:
        main(sys.argv[1:])

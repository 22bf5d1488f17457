"""Planted and real errors in labels of all kinds: what is found, how surely, beside rivals.

    python benchmarks/other_tasks.py                    all but annotators
    python benchmarks/other_tasks.py regression         targets
    python benchmarks/other_tasks.py sets               several labels for each row
    python benchmarks/other_tasks.py tags               planted errors in tags: tags.py
    python benchmarks/other_tasks.py entities           real errors in tags: entities.py
    python benchmarks/other_tasks.py boxes              boxes in pictures: boxes.py
    python benchmarks/other_tasks.py preferences        swapped pairs of answers: preferences.py
    python benchmarks/other_tasks.py instructions       foreign answers: instructions.py
    python benchmarks/other_tasks.py masks              masks of pictures: masks.py
    python benchmarks/other_tasks.py annotators         several annotators: annotators.py
    python benchmarks/other_tasks.py --lines 'boxes / *8% / 0'      some lines
    python benchmarks/other_tasks.py --lines 'sets / *' --again     even if they are finished

Needs scikit-learn's own data sets, and for what else is named in each file the files in
../shared/data (left out with a message where they are absent). Lines are kept and written as
kind_lines.py has it. Targets and label sets are here: census hours are those of adult.parquet, the
grades those of student_grades.parquet. cleanlab's regression scores, which refit the model, are
given the trusted rows as further rows. The suggestion is right, of sets, where it is the true one;
of targets, within one standard deviation of the truth.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import annotators
import boxes
import entities
import instructions
import masks
import numpy as np
import pandas as pd
import preferences
import tags
import torch
from cleanlab.regression.learn import CleanLearning
from kind_lines import DATA, SEEDS, SHARE, Lines, Measured, line_of, measure
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from torch import nn

import dataaudit

POINTS = {"A": 4.0, "B": 3.0, "C": 2.0, "D": 1.0, "F": 0.0}
FACTS = {
    "even": (0, 2, 4, 6, 8),
    "large": (5, 6, 7, 8, 9),
    "prime": (2, 3, 5, 7),
    "loop": (0, 6, 8, 9),
}


def main() -> None:
    kinds: dict[str, Callable[[], Lines]] = {
        "regression": regression,
        "sets": label_sets,
        "tags": tags.lines,
        "entities": entities.lines,
        "boxes": boxes.lines,
        "preferences": preferences.lines,
        "instructions": instructions.lines,
        "masks": masks.lines,
    }
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(kinds)}, annotators")
    parser.add_argument("--lines", nargs="*", help="patterns of names, such as 'tags / *'")
    parser.add_argument("--again", action="store_true", help="measure finished lines, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.kinds == ["annotators"]:
        annotators.main()
        return
    if unknown := set(options.kinds) - set(kinds):
        parser.error(f"kind: found {', '.join(sorted(unknown))}; expected of {', '.join(kinds)}")
    patterns = options.lines or [f"{kind} / *" for kind in options.kinds or kinds]
    measure(kinds, patterns, options.again)


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


def regression() -> Lines:
    diabetes = load_diabetes(as_frame=True).frame
    makers: dict[str, Callable[[int], Any]] = {
        "linear": lambda seed: LinearRegression(),
        "forest": lambda seed: RandomForestRegressor(100, random_state=seed),
    }
    for name, make in makers.items():
        for kind in ("clean", "decimal point", "4 deviations", "swapped"):
            yield from of_seeds(f"diabetes / {name} / {kind}", diabetes, 300, make, kind)
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
        yield from of_seeds(f"census hours / perceptron / {kind}", adult, 3000, census, kind)


def grades(makers: dict[str, Callable[[int], Any]]) -> Lines:
    """Grades of exams as numbers, with their real errors."""
    if not (DATA / "student_grades.parquet").exists():
        print(f"left out: grades, because there is no student_grades.parquet in {DATA}")
        return
    table = pd.read_parquet(DATA / "student_grades.parquet").fillna({"notes": "none"})
    marks = pd.get_dummies(table[["exam_1", "exam_2", "exam_3", "notes"]], dtype=float)
    marks["target"] = table["letter_grade"].map(POINTS)
    given = table["noisy_letter_grade"].map(POINTS)
    for name, make in makers.items():
        yield from of_seeds(f"grades / {name} / real", marks, 400, make, "real", given)


def of_seeds(
    setting: str,
    table: pd.DataFrame,
    rows: int,
    make: Callable[[int], Any],
    kind: str,
    real: pd.Series | None = None,
) -> Lines:
    """Yield a line for each seed; `real` are given targets where errors are not planted."""
    for seed in SEEDS:
        measured = partial(audited_targets, table, rows, make, kind, real, seed)
        yield f"{setting} / {seed}", measured


def audited_targets(
    table: pd.DataFrame,
    rows: int,
    make: Callable[[int], Any],
    kind: str,
    real: pd.Series | None,
    seed: int,
) -> Measured:
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
    close = np.abs(result.mislabels["suggested_label"].to_numpy() - right) < right.std()
    rival = cleanlab_scores(make(seed), train, trusted, seed)
    return line_of(result, wrong, loss, close, seconds, len(trusted), rival)


def cleanlab_scores(
    model: Any, train: pd.DataFrame, trusted: pd.DataFrame, seed: int
) -> np.ndarray:
    """Return cleanlab's suspicion of each training row, the trusted ones fitted beside them."""
    every = pd.concat([train, trusted], ignore_index=True)
    inputs = every.drop(columns="target")
    # It makes an array of a table, of which a model that goes by names of columns can make nothing.
    named = FunctionTransformer(partial(table_like, inputs[:0]))
    found = CleanLearning(make_pipeline(named, model), seed=seed).find_label_issues(
        inputs, every["target"].to_numpy()
    )
    return 1 - found["label_quality"].to_numpy()[: len(train)]


def table_like(table: pd.DataFrame, values: Any) -> pd.DataFrame:
    """Return values `[rows, columns]` under the names and in the types of a table's columns."""
    return pd.DataFrame(np.asarray(values), columns=table.columns).astype(table.dtypes.to_dict())


def label_sets() -> Lines:
    for epochs in (8, 40, 150):
        for seed in SEEDS:
            yield f"digits, 4 facts / {epochs} epochs / {seed}", partial(audited_sets, epochs, seed)


def audited_sets(epochs: int, seed: int) -> Measured:
    images, digit = load_digits(return_X_y=True)
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
    return line_of(result, wrong, loss.numpy(), same, seconds, len(trusted))


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


if __name__ == "__main__":
    main()

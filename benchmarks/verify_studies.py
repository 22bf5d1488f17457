"""The two studies of Ko et al. (CVPR 2024), on data at hand: what is trained, and on what."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

from dataaudit.studies.verification.examples import Examples, joined
from dataaudit.studies.verification.groups import query_groups
from dataaudit.studies.verification.measuring import Study
from dataaudit.studies.verification.retraining import Descent, Recipe, Refit, Retrainer
from dataaudit.tasks import Classification

GROUPS, ROWS_PER_GROUP, QUERIES = 20, 40, 400
LARGEST_NOISE = 0.8
"""Share of wrong labels in the worst of the graded groups; 40 % of all rows are wrong."""


@dataclass(frozen=True)
class Case:
    """A study with the groups of rows that are left out.

    Attributes
    ----------
    groups : mapping of name to list of int64 arrays
    """

    name: str
    study: Study
    retrainer: Retrainer
    groups: dict[str, list[NDArray[np.int64]]]


def logistic_regression(penalty: float, rows: int, left_out: int, queries: int, seed: int) -> Case:
    """Return leave-one-out on digits; `penalty` is scikit-learn's C, `left_out` rows are tried."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    inputs = torch.tensor(digits.data[order] / 16)
    labels = torch.tensor(digits.target[order])
    trained = Examples(inputs[:rows], labels[:rows])
    asked = Examples(inputs[rows : rows + queries], labels[rows : rows + queries])
    estimator = LogisticRegression(C=penalty, tol=1e-10, max_iter=20_000)
    estimator.fit(trained.inputs.numpy(), trained.labels.numpy())
    study = Study(Classification(10), trained, asked, [np.array([q]) for q in range(queries)])
    retrainer = Refit(estimator, joined([trained, asked]), 10)
    single = [np.array([row]) for row in range(left_out)]
    return Case(f"logistic regression, C = {penalty:g}", study, retrainer, {"single": single})


def digits_network(seed: int) -> Case:
    """Return leave-group-out of a small network on digits, labels flipped at random."""
    digits = load_digits()
    rows = GROUPS * ROWS_PER_GROUP
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(digits.target))
    images = torch.tensor(digits.images[order], dtype=torch.float32)[:, None] / 16
    truth = digits.target[order]
    wrong = np.zeros(rows, dtype=bool)
    for group, count in zip(_consecutive(), _wrong_rows(), strict=True):
        wrong[generator.permutation(group)[:count]] = True
    labels = truth.copy()
    labels[:rows][wrong] = (labels[:rows][wrong] + generator.integers(1, 10, wrong.sum())) % 10
    network = nn.Sequential(
        nn.Conv2d(1, 12, 3, 1, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(384, 10),
    )  # fmt: skip
    recipe = Recipe("fresh", epochs=12, learning_rate=3e-3, batch_size=64)
    asked = slice(rows, rows + QUERIES)
    trained = Examples(images[:rows], torch.tensor(labels[:rows]))
    queries = Examples(images[asked], torch.tensor(labels[asked]))
    return _network("network, digits", trained, queries, wrong, network, recipe, generator)


def cifar_network(data: Path, seed: int) -> Case:
    """Return the same on CIFAR-10N rows, with the mistakes that annotators made."""
    generator = np.random.default_rng(seed)
    frame = pd.read_parquet(data / "cifar10n_train.parquet").iloc[:4000]
    is_wrong = (frame["worst_label"] != frame["clean_label"]).to_numpy()
    bad = generator.permutation(np.flatnonzero(is_wrong))
    good = generator.permutation(np.flatnonzero(~is_wrong))
    chosen: list[int] = []
    for count in _wrong_rows():
        clean = ROWS_PER_GROUP - count
        chosen += [*bad[:count], *good[:clean]]
        bad, good = bad[count:], good[clean:]
    rows = frame.iloc[chosen]
    test = pd.read_parquet(data / "cifar10_test.parquet").iloc[:QUERIES]
    network = nn.Sequential(
        nn.Conv2d(3, 24, 5, 4, 2), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(768, 10),
    )  # fmt: skip
    recipe = Recipe("fresh", epochs=12, learning_rate=3e-3, batch_size=64)
    trained = Examples(_images(rows), _labels(rows["worst_label"]))
    queries = Examples(_images(test), _labels(test["label"]))
    return _network(
        "network, CIFAR-10N", trained, queries, is_wrong[chosen], network, recipe, generator
    )


def _network(
    name: str,
    trained: Examples,
    queries: Examples,
    wrong: NDArray[np.bool_],
    network: nn.Module,
    recipe: Recipe,
    generator: np.random.Generator,
) -> Case:
    groups = query_groups(queries.labels.numpy(), 10)
    study = Study(Classification(10), trained, queries, groups)
    examples = joined([trained, queries])
    retrainer = Descent(network.eval(), study.task, examples, len(trained), recipe)
    parts = [generator.permutation(np.flatnonzero(which)) for which in (wrong, ~wrong)]
    equal = [
        np.sort(np.concatenate(pair))
        for pair in zip(*(np.array_split(part, GROUPS) for part in parts), strict=True)
    ]
    return Case(name, study, retrainer, {"graded noise": _consecutive(), "equal noise": equal})


def _consecutive() -> list[NDArray[np.int64]]:
    return list(np.arange(GROUPS * ROWS_PER_GROUP).reshape(GROUPS, ROWS_PER_GROUP))


def _wrong_rows() -> list[int]:
    return [round(share * ROWS_PER_GROUP) for share in np.linspace(0, LARGEST_NOISE, GROUPS)]


def _images(frame: pd.DataFrame) -> torch.Tensor:
    pixels = np.stack(
        [np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) for image in frame["image"]]
    )
    return (torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255 - 0.47) / 0.25


def _labels(column: pd.Series) -> torch.Tensor:
    return torch.tensor(column.to_numpy(dtype=np.int64))

"""Cells of the calibration benchmark: data, a classifier, and labels that go wrong in some way."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

MOST_TRUSTED = 1000
MODELS: dict[str, Callable[[], Any]] = {
    "logistic-1": lambda: LogisticRegression(C=1, max_iter=300),
    "logistic-10": lambda: LogisticRegression(C=10, max_iter=300),
    "logistic-100": lambda: LogisticRegression(C=100, max_iter=300),
    "svc": lambda: CalibratedClassifierCV(LinearSVC(), cv=3),
    "bayes": GaussianNB,
    "word-bayes": MultinomialNB,
    "neighbours": lambda: KNeighborsClassifier(5),
    "forest": lambda: RandomForestClassifier(60, random_state=0),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=60, random_state=0),
    "perceptron": lambda: MLPClassifier((64,), max_iter=60, random_state=0),
}
SCALED = {"logistic-1", "logistic-10", "logistic-100", "svc", "neighbours", "perceptron"}


@dataclass(frozen=True)
class Cell:
    """One line of the benchmark.

    Attributes
    ----------
    data, model : str
    rate : float
        Share of wrong labels; where `kind` is "real", whatever people did.
    kind : str
        "uniform", "confusable", "doubtful", "pair" (one class into another), "rule" (one class into
        another beyond a value of one column), "rare" (into the rarest class), "real".
    trusted : int
    tuned : bool
        Whether the method was developed with such cells in sight.
    """

    data: str
    model: str
    rate: float
    kind: str
    trusted: int
    tuned: bool = True

    @property
    def name(self) -> str:
        return f"{self.data}/{self.model}/{self.rate:g}/{self.kind}/{self.trusted}"


@dataclass(frozen=True)
class Problem:
    """What the method is given, and the truth."""

    rows: Any
    given: NDArray[np.int64]
    right: NDArray[np.int64]
    trusted: Any
    trusted_labels: NDArray[np.int64]
    model: Any


def make_problem(cell: Cell, rows: int, seed: int, data: Path) -> Problem:
    """Draw rows and trusted samples, and let labels go wrong."""
    inputs, right, given_by_people = read(cell.data, data)
    code = zlib.crc32(f"{cell.data}{cell.kind}{cell.rate}{seed}".encode())
    generator = np.random.default_rng(code)
    order = generator.permutation(len(right))
    held = min(MOST_TRUSTED, len(right) // 3)
    trusted, chosen = order[:held][: cell.trusted], order[held:][:rows]
    if cell.kind == "real":
        assert given_by_people is not None
        given = given_by_people[chosen]
    else:
        given = with_errors(cell, inputs[chosen], right[chosen], generator)
    model = MODELS[cell.model]()
    if inputs.dtype == object:
        model = make_pipeline(TfidfVectorizer(), model)
    elif cell.model in SCALED:
        model = make_pipeline(StandardScaler(), model)
    return Problem(inputs[chosen], given, right[chosen], inputs[trusted], right[trusted], model)


@cache
def read(name: str, folder: Path) -> tuple[Any, NDArray[np.int64], NDArray[np.int64] | None]:
    """Return inputs, right classes, and those that people gave, where that is known."""
    if name in ("digits", "wine", "cancer"):
        bunch = {
            "digits": datasets.load_digits,
            "wine": datasets.load_wine,
            "cancer": datasets.load_breast_cancer,
        }[name]()
        return bunch.data, bunch.target.astype(np.int64), None
    if name == "sms":
        table = pd.read_parquet(folder / "sms_spam.parquet")
        return table["text"].to_numpy(object), _codes(table["label"]), None
    if name == "grades":
        table = pd.read_parquet(folder / "student_grades.parquet")
        values = table[["exam_1", "exam_2", "exam_3"]].fillna(0).to_numpy(np.float64)
        return values, _codes(table["letter_grade"]), _codes(table["noisy_letter_grade"])
    if name == "adult":
        table = pd.read_parquet(folder / "adult.parquet")
        right = _codes(table.pop("income"))
        numbers = table.select_dtypes("number").fillna(0)
        frequent = pd.get_dummies(table.drop(columns=numbers.columns).astype(str))
        frequent = frequent.loc[:, frequent.sum() >= 50]
        return np.hstack([numbers.to_numpy(np.float64), frequent.to_numpy(np.float64)]), right, None
    if name == "chance":
        generator = np.random.default_rng(6)
        return generator.normal(size=(6000, 5)), generator.integers(0, 2, 6000), None
    assert name == "lines"
    return (*_lines(), None)


def _codes(column: pd.Series) -> NDArray[np.int64]:
    return column.astype("category").cat.codes.to_numpy(np.int64)


def _lines() -> tuple[Any, NDArray[np.int64]]:
    """Return short lines of six kinds, of words that are more frequent in one kind or another."""
    generator = np.random.default_rng(7)
    kinds = generator.integers(0, 6, 6000)
    frequency = np.arange(1, 3001) ** -0.9 * np.exp(generator.normal(0, 1.1, (6, 3000)))
    frequency /= frequency.sum(axis=1, keepdims=True)
    lines = [
        " ".join(
            f"w{word}"
            for word in generator.choice(3000, generator.integers(8, 16), p=frequency[kind])
        )
        for kind in kinds
    ]
    return np.array(lines, dtype=object), kinds


def with_errors(
    cell: Cell, inputs: Any, right: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return the right classes with the cell's share of errors of its kind."""
    count, classes, given = round(cell.rate * len(right)), int(right.max()) + 1, right.copy()
    if count == 0:
        return given
    sizes = np.bincount(right, minlength=classes)
    if cell.kind == "uniform":
        chosen = generator.choice(len(right), count, replace=False)
        given[chosen] = (right[chosen] + generator.integers(1, classes, count)) % classes
    elif cell.kind in ("pair", "rule"):
        frequent = int(sizes.argmax())
        members = np.flatnonzero(right == frequent)
        count = min(count, len(members) * 6 // 10)
        if cell.kind == "pair":
            chosen = generator.choice(members, count, replace=False)
        else:
            chosen = members[np.argsort(-_column(inputs, right)[members], kind="stable")][:count]
        given[chosen] = (frequent + 1) % classes
    elif cell.kind == "rare":
        rare = int(sizes.argmin())
        others = np.flatnonzero(right != rare)
        given[generator.choice(others, min(count, sizes[rare]), replace=False)] = rare
    else:
        looks = _looks_like(inputs, right)
        looks[np.arange(len(right)), right] = 0.0
        doubt = looks.sum(axis=1) + 0.03
        odds = doubt / doubt.sum() if cell.kind == "doubtful" else None
        for row in generator.choice(len(right), count, replace=False, p=odds):
            given[row] = generator.choice(classes, p=looks[row] / looks[row].sum())
    return given


def _column(inputs: Any, right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the length of texts, or the column with many values that tells most of the class."""
    if inputs.dtype == object:
        return np.array([len(text) for text in inputs], dtype=np.float64)
    many = [place for place in range(inputs.shape[1]) if len(np.unique(inputs[:, place])) > 4]
    told = [abs(np.corrcoef(inputs[:, place], right)[0, 1]) for place in many]
    return np.asarray(inputs[:, many[int(np.argmax(told))]])


def _looks_like(inputs: Any, right: NDArray[np.int64]) -> NDArray[np.float64]:
    model: Any = RandomForestClassifier(40, random_state=1)
    if inputs.dtype == object:
        model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=3))
    found = cross_val_predict(model, inputs, right, cv=3, method="predict_proba")
    return np.asarray(found + 1e-4)

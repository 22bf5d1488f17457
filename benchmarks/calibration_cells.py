"""Cells of the calibration benchmark: data, a classifier, and labels that go wrong in some way."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
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
from sklearn.tree import DecisionTreeClassifier

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
    "tree": lambda: DecisionTreeClassifier(min_samples_leaf=5, random_state=0),
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
        another beyond a value of one column), "rare" (into the rarest class); "real", "random",
        "worst": what people gave.
    trusted : int
    seed : int
    tuned : bool
        Whether the method was developed with such cells in sight.
    """

    data: str
    model: str
    rate: float
    kind: str
    trusted: int
    seed: int = 0
    tuned: bool = True

    @property
    def name(self) -> str:
        return f"{self.data}/{self.model}/{self.rate:g}/{self.kind}/{self.trusted}/{self.seed}"


@dataclass(frozen=True)
class Problem:
    """What the method is given, and the truth."""

    rows: Any
    given: NDArray[np.int64]
    right: NDArray[np.int64]
    trusted: Any
    trusted_labels: NDArray[np.int64]
    model: Any


KINDS = (
    (0, "uniform"),
    (0.02, "uniform"),
    (0.05, "uniform"),
    (0.1, "uniform"),
    (0.2, "uniform"),
    (0.4, "uniform"),
    (0.1, "confusable"),
    (0.05, "doubtful"),
    (0.2, "doubtful"),
    (0.05, "pair"),
    (0.2, "pair"),
    (0.1, "rule"),
    (0.05, "rare"),
)
ON_TEXTS = ("logistic-1", "logistic-10", "logistic-100", "word-bayes")
OTHERS_ON_TEXTS = ("svc", "neighbours", "forest")
ON_TABLES = ("logistic-1", "bayes", "boosting")
OTHERS_ON_TABLES = ("svc", "neighbours", "forest", "tree", "perceptron", "logistic-100")
ALL_ON_TABLES = ON_TABLES + OTHERS_ON_TABLES


def _grid(
    data: str, models: Sequence[str], trusted: Sequence[int], tuned: bool = False
) -> list[Cell]:
    """Return every second pair of a model and a kind, numbers of trusted samples in turn."""
    return [
        Cell(data, model, rate, kind, trusted[(first + second // 2) % len(trusted)], first, tuned)
        for first, model in enumerate(models, start=0 if tuned else 1)
        for second, (rate, kind) in enumerate(KINDS)
        if (first + second) % 2 == 0
    ]


def _by_people(
    data: str, models: Sequence[str], trusted: Sequence[int], kinds: Sequence[str] = ("real",)
) -> list[Cell]:
    return [
        Cell(data, model, 0, kind, number, 1, False)
        for place, model in enumerate(models)
        for other, kind in enumerate(kinds)
        for number in [trusted[(place + other) % len(trusted)]]
    ]


TUNED = [
    *_grid("sms", ON_TEXTS, (600, 200, 1000, 50), tuned=True),
    *_grid("lines", ON_TEXTS, (200, 600, 50, 1000), tuned=True),
    *_grid("adult", ON_TABLES, (600, 200, 1000, 50), tuned=True),
    Cell("sms", "logistic-10", 0.1, "uniform", 0),
]
UNTUNED = [
    *_grid("sms", OTHERS_ON_TEXTS, (200, 1000, 50, 600)),
    *_grid("adult", OTHERS_ON_TABLES, (200, 1000, 50, 600)),
    *_grid("digits", ALL_ON_TABLES, (200, 50, 500)),
    *_grid("wine", ("logistic-1", "forest", "bayes"), (50,)),
    *_grid("cancer", ("perceptron", "svc", "bayes", "boosting"), (150, 50)),
    *_grid("chance", ("bayes", "forest"), (200, 50)),
    *_by_people("grades", ALL_ON_TABLES, (200, 50)),
    *_by_people("hausa", (*ON_TEXTS, *OTHERS_ON_TEXTS), (600, 200, 1000)),
    *_by_people("yoruba", ("logistic-10", "forest"), (600, 200)),
    *_by_people(
        "pictures", ("svc", "logistic-1", "forest"), (600, 200, 1000), ("real", "random", "worst")
    ),
    Cell("digits", "logistic-1", 0.1, "uniform", 0, 1, False),
]
"""Fixed before the first of them was run: data, classifiers or draws that are not in `TUNED`."""
SCATTERED = [
    Cell(f"scattered-{classes}-{seed}", model, rate, "uniform", trusted, seed, False)
    for classes in (2, 3)
    for rate, seeds in ((0, range(70, 74)), (0.05, range(70, 72)), (0.1, range(70, 72)))
    for seed in seeds
    for model, trusted in (("bayes", 200), ("logistic-1", 600), ("forest", 200))
]
"""Made-up tables of 1,400 rows in which 5 % of the right classes are exceptions, and right. What is
done about them was made on other draws, and first run on these."""


def make_problem(cell: Cell, rows: int, data: Path) -> Problem:
    """Draw rows and trusted samples, and let labels go wrong."""
    inputs, right, given_by_people = read(cell.data, data)
    code = zlib.crc32(f"{cell.data}{cell.kind}{cell.rate}{cell.seed}".encode())
    generator = np.random.default_rng(code)
    order = generator.permutation(len(right))
    held = min(MOST_TRUSTED, len(right) // 3)
    trusted, chosen = order[:held][: cell.trusted], order[held:][:rows]
    if cell.kind in given_by_people:
        given = given_by_people[cell.kind][chosen]
    else:
        given = with_errors(cell, inputs[chosen], right[chosen], generator)
    model = MODELS[cell.model]()
    if inputs.dtype == object:
        model = make_pipeline(TfidfVectorizer(), model)
    elif cell.model in SCALED:
        model = make_pipeline(StandardScaler(), model)
    return Problem(inputs[chosen], given, right[chosen], inputs[trusted], right[trusted], model)


@cache
def read(name: str, folder: Path) -> tuple[Any, NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Return inputs, right classes, and those that people gave, by kind, where that is known."""
    if name in ("digits", "wine", "cancer"):
        bunch = {
            "digits": datasets.load_digits,
            "wine": datasets.load_wine,
            "cancer": datasets.load_breast_cancer,
        }[name]()
        return bunch.data, bunch.target.astype(np.int64), {}
    if name == "sms":
        table = pd.read_parquet(folder / "sms_spam.parquet")
        return table["text"].to_numpy(object), _codes(table["label"]), {}
    if name == "grades":
        table = pd.read_parquet(folder / "student_grades.parquet")
        values = table[["exam_1", "exam_2", "exam_3"]].fillna(0).to_numpy(np.float64)
        return values, _codes(table["letter_grade"]), {"real": _codes(table["noisy_letter_grade"])}
    if name == "adult":
        table = pd.read_parquet(folder / "adult.parquet")
        right = _codes(table.pop("income"))
        numbers = table.select_dtypes("number").fillna(0)
        frequent = pd.get_dummies(table.drop(columns=numbers.columns).astype(str))
        frequent = frequent.loc[:, frequent.sum() >= 50]
        return np.hstack([numbers.to_numpy(np.float64), frequent.to_numpy(np.float64)]), right, {}
    if name == "pictures":
        return _pictures(pd.read_parquet(folder / "cifar10n_train.parquet"))
    if name in ("hausa", "yoruba"):
        return _words(pd.read_parquet(folder / f"{name}_entities.parquet"))
    if name.startswith("scattered-"):
        classes, seed = (int(part) for part in name.split("-")[1:])
        inputs, right = datasets.make_classification(
            2100,
            15,
            n_informative=6,
            n_redundant=2,
            n_classes=classes,
            flip_y=0.05,
            random_state=seed,
        )
        return inputs, right.astype(np.int64), {}
    if name == "chance":
        generator = np.random.default_rng(6)
        return generator.normal(size=(6000, 5)), generator.integers(0, 2, 6000), {}
    assert name == "lines"
    return (*_lines(), {})


def _codes(column: pd.Series) -> NDArray[np.int64]:
    return column.astype("category").cat.codes.to_numpy(np.int64)


def _words(
    table: pd.DataFrame,
) -> tuple[Any, NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Return words between their neighbours, with the tags of people and those of rules."""
    texts = []
    for words in table["tokens"]:
        near = ["none", *words, "none"]
        texts += [
            f"is_{word} ends_{word[-3:]} begins_{word[:3]} after_{before} before_{after} "
            + ("capital" if word[:1].isupper() else "small")
            for before, word, after in zip(near, words, near[2:], strict=False)
        ]
    names = sorted({tag for tags in table["right"] for tag in tags})
    right, given = (
        np.searchsorted(names, np.concatenate(table[key].to_list()).astype(str)).astype(np.int64)
        for key in ("right", "given")
    )
    return np.array(texts, dtype=object), right, {"real": given}


def _pictures(
    table: pd.DataFrame,
) -> tuple[Any, NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Return colours and histograms of edges of small pictures, and what people saw in them."""
    values = []
    for picture in table["image"].iloc[:8000]:
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=np.float64) / 255
        down, across = np.gradient(pixels.mean(axis=2))
        turned = ((np.arctan2(down, across) + np.pi) * 4 / np.pi).astype(int) % 8
        edges = np.eye(8)[turned] * np.hypot(down, across)[:, :, None]
        small = pixels.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3))
        values.append(
            np.concatenate([small.ravel(), edges.reshape(4, 8, 4, 8, 8).mean(axis=(1, 3)).ravel()])
        )
    kinds = {"real": "aggregate_label", "random": "random_label", "worst": "worst_label"}
    labels = table.iloc[:8000].astype(dict.fromkeys(kinds.values(), np.int64))
    return (
        np.stack(values),
        labels["clean_label"].to_numpy(np.int64),
        {kind: labels[name].to_numpy() for kind, name in kinds.items()},
    )


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

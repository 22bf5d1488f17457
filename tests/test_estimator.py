"""Estimators without gradients: fitted anew, they speak for themselves where flags are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.models import distillation
from dataaudit.models.distillation import probabilities
from dataaudit.models.estimator import Estimator, joined
from dataaudit.stages.loading import load_objects
from dataaudit.stages.planning import cost_lines

COLUMNS = ["a", "b", "c"]


def table(count: int, seed: int, wrong: float = 0.0) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Two clouds of "low" and "high" rows, and which of their labels are wrong."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(2, size=count)
    frame = pd.DataFrame(generator.normal(size=(count, 3)) + 2 * truth[:, None], columns=COLUMNS)
    is_wrong = generator.random(count) < wrong
    names = np.array(["high", "low"])
    frame["label"] = names[np.where(is_wrong, truth, 1 - truth)]
    return frame, is_wrong


def as_samples(frame: pd.DataFrame) -> Samples:
    return samples_from_object(
        frame, ReadSettings("train", "label", classes=sorted(set(frame["label"])))
    )


def fitted(model: Any, frame: pd.DataFrame) -> Estimator:
    return Estimator(
        model.fit(frame[COLUMNS], frame["label"]), lambda rows: rows[COLUMNS], probabilities
    )


def fitted_anew(
    estimator: Estimator, splits: list[tuple[Samples, NDArray[np.int64]]], seed: int
) -> Estimator:
    """Fit the estimator to several sets of samples together, as crosswise fits do."""
    inputs = joined([estimator.inputs(samples) for samples, _ in splits])
    return estimator.fitted_to(inputs, np.concatenate([labels for _, labels in splits]), seed)


def test_it_learns_every_split_under_the_labels_it_is_given() -> None:
    first, second = (as_samples(table(60, seed)[0]) for seed in (0, 1))
    estimator = fitted(DecisionTreeClassifier(random_state=0), table(60, 2)[0])
    turned = 1 - second.labels
    anew = fitted_anew(estimator, [(first, first.labels), (second, turned)], seed=0)
    # A tree knows each of its rows by heart.
    assert (anew.probabilities(first).argmax(axis=1) == first.labels).all()
    assert (anew.probabilities(second).argmax(axis=1) == turned).all()
    assert (estimator.probabilities(second).argmax(axis=1) == second.labels).mean() > 0.8


def test_the_seed_decides_where_the_user_left_it_open() -> None:
    rows = as_samples(table(80, 0)[0])

    def predicted(random_state: int | None, seed: int) -> NDArray[np.float64]:
        model = RandomForestClassifier(5, random_state=random_state)
        estimator = fitted(make_pipeline(model), table(80, 0)[0])
        return fitted_anew(estimator, [(rows, rows.labels)], seed).probabilities(rows)

    assert (predicted(None, 1) == predicted(None, 1)).all()
    assert (predicted(None, 1) != predicted(None, 2)).any()
    assert (predicted(3, 1) == predicted(3, 2)).all()


def test_texts_are_joined_too() -> None:
    frame = pd.DataFrame({"text": ["free prize", "see you"] * 10, "label": ["spam", "ham"] * 10})
    model = make_pipeline(TfidfVectorizer(), DecisionTreeClassifier(random_state=0))
    estimator = Estimator(
        model.fit(frame["text"], frame["label"]), lambda rows: rows["text"], probabilities
    )
    rows = as_samples(frame)
    anew = fitted_anew(estimator, [(rows, rows.labels), (rows, rows.labels)], seed=0)
    assert (anew.probabilities(rows).argmax(axis=1) == rows.labels).all()


class FittedBefore(BaseEstimator):
    """A classifier that cannot be fitted anew."""

    def __init__(self, model: Any = None) -> None:
        self.model = model
        self.classes_ = model.classes_
        self.feature_names_in_ = model.feature_names_in_

    def fit(self, inputs: Any, labels: Any) -> FittedBefore:
        raise RuntimeError("fitted before")

    def predict(self, inputs: Any) -> Any:
        return self.model.predict(inputs)

    def predict_proba(self, inputs: Any) -> Any:
        return self.model.predict_proba(inputs)


@pytest.fixture
def _quick_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "_SURROGATE_STEPS", 200)


@pytest.fixture(scope="module")
def data() -> tuple[pd.DataFrame, NDArray[np.bool_], pd.DataFrame]:
    train, wrong = table(400, 0, wrong=0.1)
    return train, wrong, table(120, 1)[0]


@pytest.fixture(scope="module")
def forest(data: tuple[pd.DataFrame, NDArray[np.bool_], pd.DataFrame]) -> RandomForestClassifier:
    train, _, _ = data
    model = RandomForestClassifier(20, min_samples_leaf=10, random_state=0)
    return model.fit(train[COLUMNS], train["label"])


@pytest.mark.usefixtures("_quick_stand_in")
def test_an_audit_ranks_by_the_estimator_itself(
    data: tuple[pd.DataFrame, NDArray[np.bool_], pd.DataFrame], forest: RandomForestClassifier
) -> None:
    train, wrong, held_out = data
    result = dataaudit.audit(forest, train, held_out, mirror={"steps": 60})
    labels = result.report.labels
    assert labels is not None
    assert "fitted anew, crosswise" in labels.method
    # The loss that the report shows is the estimator's own.
    own = forest.predict_proba(train[COLUMNS])
    places = (train["label"] == "low").to_numpy(dtype=np.int64)
    loss = -np.log(own[np.arange(len(train)), places])
    shown = [(row.row_id, row.signals["loss"].value) for row in labels.rows]
    assert [value for _, value in shown] == pytest.approx([loss[int(i)] for i, _ in shown])
    score = result.mislabels["score"].to_numpy()
    assert average_precision_score(wrong, score) >= average_precision_score(wrong, loss) - 0.01


@pytest.mark.usefixtures("_quick_stand_in")
def test_an_estimator_that_cannot_be_fitted_anew_is_stood_in_for(
    data: tuple[pd.DataFrame, NDArray[np.bool_], pd.DataFrame], forest: RandomForestClassifier
) -> None:
    train, _, held_out = data
    result = dataaudit.audit(FittedBefore(forest), train, held_out, mirror={"steps": 60})
    assert result.report.labels is not None
    assert "could not be fitted anew" in result.report.labels.method
    assert result.mislabels["probability"].between(0, 1).all()


def test_the_plan_of_an_estimator_names_fits_and_no_passes() -> None:
    rows = pd.DataFrame({"a": np.arange(60.0), "label": np.arange(60) // 30})
    built = LogisticRegression().fit(rows[["a"]], rows["label"])
    config = config_from_python("label", None, {})
    splits: dict[Any, Any] = {"train": rows, "held_out": None, "suspects": None}
    (line,) = cost_lines(load_objects(built, splits, None, config), config)
    assert line.startswith("the estimator is fitted anew, crosswise (10 fits at most)")


def test_settings_of_learning_again_that_are_not_used_are_named(
    data: tuple[pd.DataFrame, NDArray[np.bool_], pd.DataFrame],
) -> None:
    train, _, held_out = data
    logistic = LogisticRegression().fit(train[COLUMNS], train["label"])
    notes = [
        dataaudit.audit(logistic, train, held_out, mirror=mirror).report.coverage.notes
        for mirror in ({"steps": 60, "seed": 3}, {"seed": 3})
    ]
    said = "Not used, because the estimator was fitted anew: mirror.steps"
    assert [said in each for each in notes] == [True, False]

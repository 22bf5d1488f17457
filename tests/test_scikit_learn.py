"""Fitted scikit-learn classifiers as torch modules."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError, ModelError
from dataaudit.models.scikit_learn import classes_of, trained_model
from dataaudit.models.trained import forward
from dataaudit.tasks import Classification


def flowers(classes: int = 3) -> tuple[pd.DataFrame, Samples]:
    iris = load_iris(as_frame=True).frame.rename(columns={"target": "label"})
    iris = iris[iris["label"] < classes].reset_index(drop=True)
    return iris, as_samples(iris)


def as_samples(frame: pd.DataFrame, classes: list[Any] | None = None) -> Samples:
    return samples_from_object(
        frame, role="train", label="label", id_column=None, classes=classes, task="classification"
    )


def probabilities(estimator: Any, samples: Samples) -> np.ndarray:
    model = trained_model(estimator, None, samples, seed=0)
    with torch.inference_mode():
        outputs = forward(model.module, model.inputs(samples.take(range(len(samples))), samples))
    task = Classification.of(outputs, len(samples.classes))
    return task.log_probabilities(outputs).exp().numpy()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(max_iter=500),
        MLPClassifier((8,), max_iter=50, random_state=0),
        MLPClassifier((8, 4), activation="tanh", max_iter=50, random_state=0),
        MLPClassifier((6,), activation="logistic", max_iter=50, random_state=0),
    ],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_linear_models_and_perceptrons_are_exact(estimator: Any, classes: int) -> None:
    iris, samples = flowers(classes)
    features = iris.drop(columns="label")
    pipeline = make_pipeline(StandardScaler(), estimator).fit(features, iris["label"])
    expected = pipeline.predict_proba(features)
    np.testing.assert_allclose(probabilities(pipeline, samples), expected, rtol=1e-9, atol=1e-12)


def test_an_estimator_without_pipeline_fitted_on_an_array() -> None:
    iris, samples = flowers()
    features = iris.drop(columns="label").to_numpy()
    estimator = LogisticRegression(max_iter=500).fit(features, iris["label"])
    expected = estimator.predict_proba(features)
    np.testing.assert_allclose(probabilities(estimator, samples), expected, rtol=1e-9)


def test_a_text_pipeline_takes_the_text_column() -> None:
    words = ["cheap pills buy now today", "lunch at noon with the team", "win a big prize now ok"]
    frame = pd.DataFrame({"message": [f"{words[i % 3]} {i}" for i in range(30)]})
    frame["label"] = [["spam", "ham", "spam"][i % 3] for i in range(30)]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    pipeline.fit(frame["message"], frame["label"])
    samples = as_samples(frame, classes_of(pipeline))
    assert list(samples.classes) == ["ham", "spam"]
    expected = pipeline.predict_proba(frame["message"])
    np.testing.assert_allclose(probabilities(pipeline, samples), expected, rtol=1e-9)


def test_other_estimators_are_stood_in_for_and_the_note_says_so() -> None:
    iris, samples = flowers()
    forest = RandomForestClassifier(50, random_state=0)
    forest.fit(iris.drop(columns="label"), iris["label"])
    model = trained_model(forest, None, samples, seed=0)
    assert "RandomForestClassifier has no gradients" in model.note
    found = probabilities(forest, samples)
    expected = forest.predict_proba(iris.drop(columns="label"))
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.95
    assert np.abs(found - expected).mean() < 0.1
    np.testing.assert_array_equal(found, probabilities(forest, samples))


def test_what_cannot_be_used_is_refused() -> None:
    iris, samples = flowers()
    with pytest.raises(ModelError, match="LogisticRegression is not fitted"):
        classes_of(LogisticRegression())
    with pytest.raises(ModelError, match="SVC has no predict_proba"):
        classes_of(SVC().fit(iris.drop(columns="label"), iris["label"]))
    other = LogisticRegression().fit(iris[["petal width (cm)"]].to_numpy(), iris["label"])
    with pytest.raises(DataError, match="fitted on 1 columns, found 4 besides label and id"):
        trained_model(other, None, samples, seed=0)
    renamed = iris.rename(columns={"petal width (cm)": "width"})
    named = LogisticRegression(max_iter=500).fit(renamed.drop(columns="label"), iris["label"])
    model = trained_model(named, None, samples, seed=0)
    with pytest.raises(DataError, match="that the data lacks: width; found sepal"):
        model.preprocess(iris)

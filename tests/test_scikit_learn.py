"""Fitted scikit-learn classifiers as torch modules."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import dataaudit
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError, ModelError
from dataaudit.models.scikit_learn import classes_of, column_selection, trained_model
from dataaudit.models.trained import TrainedModel, forward
from dataaudit.tasks import Classification


def flowers(classes: int = 3) -> tuple[pd.DataFrame, Samples]:
    iris = load_iris(as_frame=True).frame.rename(columns={"target": "label"})
    iris = iris[iris["label"] < classes].reset_index(drop=True)
    return iris, as_samples(iris)


def as_samples(frame: pd.DataFrame, classes: list[Any] | None = None) -> Samples:
    return samples_from_object(frame, ReadSettings("train", "label", classes=classes))


def probabilities(estimator: Any, samples: Samples) -> np.ndarray:
    return said_by(trained_model(estimator, None, samples, seed=0), samples)


def said_by(model: TrainedModel, samples: Samples) -> np.ndarray:
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


@pytest.mark.parametrize("classes", [2, 3])
def test_weights_that_were_made_sparse_are_the_same(classes: int) -> None:
    iris, samples = flowers(classes)
    features = iris.drop(columns="label")
    estimator = LogisticRegression(max_iter=500).fit(features, iris["label"])
    expected = probabilities(estimator, samples)
    np.testing.assert_array_equal(probabilities(estimator.sparsify(), samples), expected)


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
    found = said_by(model, samples)
    expected = forest.predict_proba(iris.drop(columns="label"))
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.95
    assert np.abs(found - expected).mean() < 0.1
    np.testing.assert_array_equal(found, probabilities(forest, samples))


def test_what_cannot_be_used_is_refused() -> None:
    iris, samples = flowers()
    with pytest.raises(ModelError, match="LogisticRegression is not fitted"):
        classes_of(LogisticRegression())
    with pytest.raises(ModelError, match="KMeans has neither predict_proba nor decision_function"):
        classes_of(KMeans(3, n_init=1).fit(iris.drop(columns="label")))
    numbers, kinds = mixed_table(classes=4)
    numbers = numbers[["size"]].fillna(0)
    pairs = SVC(decision_function_shape="ovo").fit(numbers, kinds)
    with pytest.raises(ModelError, match="SVC has 6 decision values for 4 classes; set decision_f"):
        trained_model(pairs, None, as_samples(joined(numbers, kinds)), seed=0)
    other = LogisticRegression().fit(iris[["petal width (cm)"]].to_numpy(), iris["label"])
    with pytest.raises(DataError, match="fitted on 1 columns, found 4 besides label and id"):
        trained_model(other, None, samples, seed=0)
    renamed = iris.rename(columns={"petal width (cm)": "width"})
    named = LogisticRegression(max_iter=500).fit(renamed.drop(columns="label"), iris["label"])
    model = trained_model(named, None, samples, seed=0)
    with pytest.raises(DataError, match="that the data lacks: width; found sepal"):
        model.preprocess(iris)


def mixed_table(classes: int = 2) -> tuple[pd.DataFrame, pd.Series]:
    """Numbers, categories and gaps, and a kind that follows from them."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": generator.normal(40, 10, 400),
            "job": pd.Categorical(generator.choice(["cook", "nurse", "smith"], 400)),
            "open": generator.random(400) < 0.5,
        }
    )
    kinds = ((frame["size"] > 40) + 2 * (frame["job"] == "cook")).astype(int) % classes
    frame.loc[::7, "size"] = np.nan
    frame.loc[::11, "job"] = None
    return frame, kinds


def joined(frame: pd.DataFrame, kinds: pd.Series) -> pd.DataFrame:
    return frame.assign(label=kinds)


ONE_HOT = make_column_transformer(
    (SimpleImputer(add_indicator=True), ["size"]),
    (OneHotEncoder(handle_unknown="ignore"), ["job"]),
    remainder="passthrough",
)
BOOSTING = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20)
MIXED: dict[str, Any] = {
    "boosting on categories": BOOSTING,
    "boosting on categories as text": BOOSTING,
    "boosting in a pipeline": make_pipeline(ONE_HOT, GradientBoostingClassifier()),
    "forest": make_pipeline(ONE_HOT, RandomForestClassifier(30, random_state=0)),
    "tree, as text": make_pipeline(ONE_HOT, DecisionTreeClassifier(max_depth=4)),
    "neighbours": make_pipeline(ONE_HOT, StandardScaler(), KNeighborsClassifier()),
    "support vectors": make_pipeline(ONE_HOT, StandardScaler(), SVC()),
}


@pytest.mark.parametrize(("name", "estimator"), MIXED.items(), ids=list(MIXED))
def test_mixed_tables_need_no_preprocess(name: str, estimator: Any) -> None:
    frame, kinds = mixed_table()
    estimator = clone(estimator).fit(frame, kinds)
    # From a csv the categories come as text, and a batch need not hold all of them.
    seen = frame.astype({"job": object}) if "as text" in name else frame
    samples = as_samples(joined(seen, kinds))
    model = trained_model(estimator, None, samples, seed=0)
    found = said_by(model, samples)
    assert (found.argmax(1) == estimator.predict(frame)).mean() >= 0.9
    assert "has no gradients" in model.note
    whole = model.inputs(samples.take(range(400)), samples)
    single = model.inputs(samples.take([7, 11]), samples)
    assert isinstance(whole, torch.Tensor)
    assert isinstance(single, torch.Tensor)
    torch.testing.assert_close(single, whole[[7, 11]])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "estimator",
    [LinearSVC(), RidgeClassifier(), SGDClassifier(random_state=0), Perceptron(),
     SGDClassifier(loss="log_loss", random_state=0), LinearDiscriminantAnalysis()],
)  # fmt: skip
def test_decision_values_of_linear_models_are_exact(estimator: Any, classes: int) -> None:
    iris, samples = flowers(classes)
    features = iris.drop(columns="label")
    pipeline = make_pipeline(StandardScaler(), clone(estimator)).fit(features, iris["label"])
    model = trained_model(pipeline, None, samples, seed=0)
    with torch.inference_mode():
        outputs = forward(model.module, model.inputs(samples.take(range(len(iris))), samples))
    expected = pipeline.decision_function(features)
    np.testing.assert_allclose(outputs.numpy().squeeze(), expected, rtol=1e-9, atol=1e-12)
    own = hasattr(pipeline, "predict_proba") and (
        classes == 2 or isinstance(estimator, LinearDiscriminantAnalysis)
    )
    assert bool(model.note) != own


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_categories_are_given_as_the_estimator_was_fitted_on_them(
    tmp_path: Path, ending: str
) -> None:
    """As gradient boosting takes them by the type of the column, which the file stores."""
    generator = np.random.default_rng(0)
    size = pd.Categorical(generator.choice(["low", "mid", "high"], 60), ["low", "mid", "high"])
    frame = pd.DataFrame({"size": size, "x": generator.normal(size=60)})
    frame["label"] = (frame["size"].cat.codes == 2).astype(int)
    path = tmp_path / f"train.{ending}"
    if ending == "parquet":
        frame.to_parquet(path, row_group_size=20)
    else:
        frame.to_feather(path)
    estimator = HistGradientBoostingClassifier(
        categorical_features="from_dtype", max_iter=5, min_samples_leaf=2
    ).fit(frame[["size", "x"]], frame["label"])
    samples = open_samples(path, ReadSettings("train", "label"))
    select = column_selection(estimator, samples)
    taken = select(samples.take([5, 0]).frame)
    assert list(taken["size"].cat.categories) == ["low", "mid", "high"]
    np.testing.assert_array_equal(
        estimator.predict_proba(taken), estimator.predict_proba(frame[["size", "x"]].iloc[[5, 0]])
    )


@pytest.mark.parametrize(
    ("task", "labels", "what"),
    [
        ("boxes", [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}] * 40, "boxes"),
        ("segmentation", torch.zeros(40, 8, 8).long(), "masks"),
    ],
)
def test_labels_that_no_estimator_predicts_are_named(task: str, labels: Any, what: str) -> None:
    pictures = np.random.default_rng(0).random((40, 3, 8, 8)).astype(np.float32)
    model = LogisticRegression().fit(pictures[:, 0, 0], np.arange(40) % 2)
    with pytest.raises(ModelError, match=f"LogisticRegression of scikit-learn.* {what} need"):
        dataaudit.audit(model, (torch.from_numpy(pictures), labels), task=task, classes=["a", "b"])

"""scikit-learn regressors: exact modules where there can be, imitations elsewhere."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import (
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDRegressor,
)
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from torch import nn

import dataaudit
from dataaudit.checks.examined import Examined
from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ModelError
from dataaudit.inputs import Loaded
from dataaudit.models import distillation
from dataaudit.models.parameters import last_linear, moving_parameters
from dataaudit.models.rescaled import Rescaled, rescaled
from dataaudit.models.scikit_learn_regressors import trained_regressor
from dataaudit.models.trained import TrainedModel, forward
from dataaudit.stages import auditing, checking

generator = np.random.default_rng(0)
FEATURES = pd.DataFrame(generator.normal(100, [1, 50, 0.01], (300, 3)), columns=["a", "b", "c"])
TARGETS = 5000 + 30 * (FEATURES["a"] - 100) + 2 * FEATURES["b"] + generator.normal(0, 1, 300)


def samples() -> Samples:
    table = FEATURES.assign(price=TARGETS)
    return samples_from_object(table, ReadSettings("train", "price", task="regression"))


def outputs(model: TrainedModel) -> np.ndarray:
    rows = samples()
    with torch.inference_mode():
        return forward(model.module, model.inputs(rows.take(range(300)), rows)).numpy()[:, 0]


def test_weights_that_were_made_sparse_are_the_same() -> None:
    estimator = make_pipeline(StandardScaler(), SGDRegressor(random_state=0)).fit(FEATURES, TARGETS)
    expected = outputs(trained_regressor(estimator, None, samples(), 0))
    estimator[-1].sparsify()
    model = trained_regressor(estimator, None, samples(), 0)
    assert "exact" in model.description
    np.testing.assert_array_equal(outputs(model), expected)


@pytest.mark.parametrize(
    "estimator",
    [
        LinearRegression(),
        Ridge(),
        Lasso(0.1),
        HuberRegressor(),
        make_pipeline(StandardScaler(), SGDRegressor(random_state=0)),
        make_pipeline(
            StandardScaler(),
            MLPRegressor(hidden_layer_sizes=(8, 4), activation="tanh", max_iter=30, random_state=0),
        ),
    ],
    ids=lambda estimator: type(getattr(estimator, "steps", [[0, estimator]])[-1][1]).__name__,
)
def test_linear_models_and_perceptrons_are_exact(estimator: Any) -> None:
    estimator.fit(FEATURES, TARGETS)
    model = trained_regressor(estimator, None, samples(), 0)
    assert "exact" in model.description
    np.testing.assert_allclose(outputs(model), estimator.predict(FEATURES), rtol=1e-9)
    whole = rescaled(model, samples())
    assert isinstance(whole.module, Rescaled)
    assert whole.sha256() == model.sha256()
    np.testing.assert_allclose(outputs(whole), estimator.predict(FEATURES), rtol=1e-9)


@pytest.mark.parametrize("estimator", [GradientBoostingRegressor(), PoissonRegressor()])
def test_other_regressors_are_imitated_and_the_note_says_so(estimator: Any) -> None:
    estimator.fit(FEATURES, TARGETS)
    model = trained_regressor(estimator, None, samples(), 0)
    assert "distilled" in model.description
    assert type(estimator).__name__ in model.note
    wanted = estimator.predict(FEATURES)
    assert np.std(outputs(model) - wanted) < 0.3 * np.std(wanted) + 0.3
    again = trained_regressor(estimator, None, samples(), 0)
    assert again.sha256() == model.sha256()


def test_a_classifier_and_several_targets_are_refused() -> None:
    classifier = LogisticRegression().fit(FEATURES, TARGETS.median() < TARGETS)
    with pytest.raises(ModelError, match="LogisticRegression is a classifier; expected a regr"):
        trained_regressor(classifier, None, samples(), 0)
    two = LinearRegression().fit(FEATURES, np.stack([TARGETS, TARGETS], axis=1))
    with pytest.raises(ModelError, match="predicts 2 targets; expected one"):
        trained_regressor(two, None, samples(), 0)


def test_a_model_whose_last_layer_is_not_its_output_is_left_as_it_is() -> None:
    module = nn.Sequential(nn.Linear(3, 1), nn.Softplus()).double()
    model = TrainedModel(module, lambda frame: torch.tensor(frame[["a", "b", "c"]].to_numpy()), "")
    assert rescaled(model, samples()) is model


def test_rescaling_changes_the_copy_only() -> None:
    # An output near 0 by chance has no nine digits.
    torch.manual_seed(0)
    module = nn.Linear(3, 1).double()
    before = module.weight.detach().clone()
    model = TrainedModel(module, lambda frame: torch.tensor(frame[["a", "b", "c"]].to_numpy()), "")
    new = rescaled(model, samples())
    assert new is not model
    assert torch.equal(module.weight, before)
    np.testing.assert_allclose(outputs(new), outputs(model), rtol=1e-9)


@pytest.mark.parametrize(
    "module", [nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), nn.Linear(3, 1)]
)
def test_rescaled_models_keep_their_names_and_their_last_layer(module: nn.Module) -> None:
    module = module.double()
    model = TrainedModel(module, lambda frame: torch.tensor(frame[["a", "b", "c"]].to_numpy()), "")
    new = rescaled(model, samples()).module
    assert isinstance(new, Rescaled)
    found = last_linear(new)
    assert found is not None
    assert found[1].out_features == 1
    if isinstance(module, nn.Sequential):
        assert [*new.state_dict()] == [*module.state_dict()]
        assert set(moving_parameters(new, ["1.*"])) == {"1.weight", "1.bias"}


def test_how_right_a_regressor_is_comes_from_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    table = FEATURES.assign(price=TARGETS)
    train, held_out = table[:200], table[200:]
    model = DecisionTreeRegressor(random_state=0).fit(train[["a", "b", "c"]], train["price"])
    given = []

    def examined(loaded: Loaded, config: Any, right: Any) -> Examined:
        given.append((loaded.task, right))
        return checking.examined(loaded, config, right)

    monkeypatch.setattr(distillation, "_SURROGATE_STEPS", 5)
    monkeypatch.setattr(auditing, "examined", examined)
    dataaudit.audit(model, train, held_out, label="price", task="regression")
    ((task, right),) = given
    own = model.predict(held_out[["a", "b", "c"]])[:, None]
    assert right == pytest.approx(task.metric(own, held_out["price"].to_numpy()))

"""Fitted scikit-learn regressors as torch modules.

Linear models and multi-layer perceptrons become modules with the very same outputs. Any other
regressor is stood in for by a small network that learned to give the same predictions on the
training rows (distillation); the report says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataaudit.datasets.samples import Samples
from dataaudit.errors import ModelError
from dataaudit.models.distillation import (
    SURROGATE_WIDTH,
    Standardized,
    asked,
    distil,
    mean_and_scale,
    rows_to_learn_from,
)
from dataaudit.models.estimator import Estimator
from dataaudit.models.scikit_learn import (
    column_selection,
    dense,
    exact_module,
    final_step,
    linear,
    prepared,
)
from dataaudit.models.trained import Preprocess, TrainedModel


def trained_regressor(
    estimator: Any, preprocess: Preprocess | None, train: Samples, seed: int
) -> TrainedModel:
    """Turn a fitted regressor into a `TrainedModel` with outputs `[rows, 1]`.

    Parameters
    ----------
    estimator : fitted regressor or pipeline that ends in one
    preprocess : callable or None
        From raw rows to what the estimator takes; None takes the columns it was fitted on.
    train : Samples
        Read for the inputs' scale, and to fit the stand-in, where one is needed.
    seed : int
        Of the stand-in.

    Raises
    ------
    ModelError, DataError
        The estimator is no regressor, is not fitted, or its columns are not in the data.
    """
    final = final_step(estimator)
    name = type(final).__name__
    if getattr(final, "_estimator_type", "regressor") != "regressor" or hasattr(final, "classes_"):
        raise ModelError(f"{name} is a classifier; expected a regressor for task regression")
    select = preprocess or column_selection(estimator, train)
    prepare = prepared(estimator, select)
    own = Estimator(estimator, select, lambda fitted, values: _predictions(fitted, values, name))
    layers = _layers(final)
    if layers is not None:

        def transform(frame: pd.DataFrame) -> Tensor:
            return torch.tensor(np.asarray(prepare(frame), dtype=np.float64))

        inputs = torch.cat([transform(frame) for frame in rows_to_learn_from(train, seed)])
        module = _on_standardized_inputs(*mean_and_scale(inputs), layers)
        return TrainedModel(
            module, transform, f"scikit-learn {name}, as an exact torch module", estimator=own
        )
    center, spread = _center_and_spread(train)

    def ask(frame: pd.DataFrame) -> NDArray[np.float64]:
        return (_predictions(estimator, select(frame), name) - center) / spread

    surrogate, encoding = distil(prepare, ask, nn.functional.mse_loss, train, seed)
    return TrainedModel(
        _in_natural_units(surrogate, center, spread),
        lambda frame: torch.tensor(encoding(prepare(frame))),
        f"scikit-learn {name}, through a distilled network",
        note=(
            f"{name} has no gradients. A network of one hidden layer ({SURROGATE_WIDTH} units) "
            "was fitted to its predictions on training rows, and all scores are that network's."
        ),
        estimator=own,
    )


def _on_standardized_inputs(mean: Tensor, scale: Tensor, layers: nn.Sequential) -> nn.Module:
    """Rewrite layers, in place, so that outputs stay what they were behind standardized inputs."""
    first = layers[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.bias.add_(first.weight @ mean)
        first.weight.mul_(scale)
    return Standardized(mean, scale, layers).eval()


def _layers(final: Any) -> nn.Sequential | None:
    """Return the layers of a linear model or a perceptron; None for any other regressor."""
    if type(final).__name__ == "MLPRegressor" and hasattr(final, "coefs_"):
        layers = exact_module(final)
        return layers if isinstance(layers, nn.Sequential) else None
    weights, bias = getattr(final, "coef_", None), getattr(final, "intercept_", None)
    is_linear = type(final).__module__.startswith("sklearn.linear_model") or (
        type(final).__name__ == "LinearSVR"
    )
    link = hasattr(final, "_base_loss") or hasattr(final, "power")
    weights = None if weights is None else dense(weights)
    if not is_linear or link or weights is None or bias is None or np.ndim(weights) > 2:
        return None
    rows = np.reshape(np.asarray(weights, dtype=np.float64), (-1, np.shape(weights)[-1]))
    if len(rows) != 1:
        raise ModelError(
            f"{type(final).__name__} predicts {len(rows)} targets; expected one (task regression)"
        )
    return nn.Sequential(linear(rows.T, np.atleast_1d(np.asarray(bias, dtype=np.float64))))


def _predictions(estimator: Any, values: Any, name: str) -> Any:
    found = np.asarray(asked(estimator, "predict", values))
    if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise ModelError(f"{name}: predict returned no finite numbers (task regression)")
    if found.ndim != 1 and found.shape[1:] != (1,):
        raise ModelError(
            f"{name} predicts {found.shape[1]} targets; expected one (task regression)"
        )
    return found.astype(np.float64).reshape(-1, 1)


def _center_and_spread(train: Samples) -> tuple[float, float]:
    return float(np.mean(train.labels)), float(np.std(train.labels)) or 1.0


def _in_natural_units(module: nn.Module, center: float, spread: float) -> nn.Module:
    """Rewrite the last layer, in place, so that standardized outputs become the targets' unit."""
    last = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(spread)
        last.bias.mul_(spread).add_(center)
    return module

"""Fitted scikit-learn regressors as torch modules.

Linear models and multi-layer perceptrons become modules with the very same outputs. Any other
regressor is stood in for by a small network that learned to give the same predictions on the
training rows (distillation); the report says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dataaudit.datasets.samples import Samples
from dataaudit.errors import ModelError
from dataaudit.models.scikit_learn import (
    _ROWS_PER_READ,
    _ROWS_PER_STEP,
    _SURROGATE_ROWS,
    _SURROGATE_STEPS,
    _SURROGATE_WIDTH,
    _column_selection,
    _exact_module,
    _final_step,
    _linear,
    _Surrogate,
    _transformation,
)
from dataaudit.models.trained import Preprocess, TrainedModel
from dataaudit.progress import track


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
    final = _final_step(estimator)
    name = type(final).__name__
    if getattr(final, "_estimator_type", "regressor") != "regressor" or hasattr(final, "classes_"):
        raise ModelError(f"{name} is a classifier; expected a regressor for task regression")
    select = preprocess or _column_selection(estimator, train)
    transform = _transformation(estimator, select)
    positions = np.arange(len(train))
    if len(positions) > _SURROGATE_ROWS:
        generator = np.random.default_rng(seed)
        positions = np.sort(generator.choice(positions, _SURROGATE_ROWS, replace=False))
    exact = _layers(final)
    inputs, outputs = [], []
    for start in range(0, len(positions), _ROWS_PER_READ):
        frame = train.take(positions[start : start + _ROWS_PER_READ]).frame
        inputs.append(transform(frame))
        if exact is None:
            outputs.append(torch.tensor(_predictions(estimator, select(frame), name)))
    values = torch.cat(inputs)
    mean, scale = values.mean(dim=0), values.std(dim=0, correction=0)
    scale[scale < 1e-12] = 1.0
    if exact is not None:
        standardizing = _Standardizing(mean, scale, exact).eval()
        return TrainedModel(
            standardizing, transform, f"scikit-learn {name}, as an exact torch module"
        )
    module = _distil(values.float(), torch.cat(outputs), mean.float(), scale.float(), seed)
    return TrainedModel(
        module,
        transform,
        f"scikit-learn {name}, through a distilled network",
        note=(
            f"{name} has no gradients. A network of one hidden layer ({_SURROGATE_WIDTH} units) "
            "was fitted to its predictions on training rows, and all scores are that network's."
        ),
    )


class _Standardizing(nn.Module):
    """Layers behind standardized inputs, rewritten so that the outputs stay what they were."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, layers: nn.Sequential) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = layers
        first = layers[0]
        assert isinstance(first, nn.Linear)
        with torch.no_grad():
            first.bias.add_(first.weight @ mean)
            first.weight.mul_(scale)

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.layers((inputs - self.mean) / self.scale)
        return result


def _layers(final: Any) -> nn.Sequential | None:
    """Return the layers of a linear model or a perceptron; None for any other regressor."""
    if type(final).__name__ == "MLPRegressor" and hasattr(final, "coefs_"):
        layers = _exact_module(final)
        return layers if isinstance(layers, nn.Sequential) else None
    weights, bias = getattr(final, "coef_", None), getattr(final, "intercept_", None)
    is_linear = type(final).__module__.startswith("sklearn.linear_model") or (
        type(final).__name__ == "LinearSVR"
    )
    link = hasattr(final, "_base_loss") or hasattr(final, "power")
    if not is_linear or link or weights is None or bias is None or np.ndim(weights) > 2:
        return None
    rows = np.reshape(np.asarray(weights, dtype=np.float64), (-1, np.shape(weights)[-1]))
    if len(rows) != 1:
        raise ModelError(
            f"{type(final).__name__} predicts {len(rows)} targets; expected one (task regression)"
        )
    return nn.Sequential(_linear(rows.T, np.atleast_1d(np.asarray(bias, dtype=np.float64))))


def _predictions(estimator: Any, values: Any, name: str) -> Any:
    try:
        found = np.asarray(estimator.predict(values), dtype=np.float64)
    except (AttributeError, ValueError) as error:
        raise ModelError(f"{name}: predict failed on training rows: {error}") from error
    if found.ndim != 1 and found.shape[1:] != (1,):
        raise ModelError(
            f"{name} predicts {found.shape[1]} targets; expected one (task regression)"
        )
    return found.reshape(-1, 1)


def _distil(inputs: Tensor, outputs: Tensor, mean: Tensor, scale: Tensor, seed: int) -> nn.Module:
    """Fit a small network to predictions `[rows, 1]`; its outputs are in the targets' unit."""
    center, spread = float(outputs.mean()), float(outputs.std(correction=0)) or 1.0
    wanted = ((outputs - center) / spread).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _Surrogate(mean, scale, 1)
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
        for _ in track(range(_SURROGATE_STEPS), "fitting a network to the estimator"):
            chosen = torch.randint(len(inputs), (_ROWS_PER_STEP,))
            loss = nn.functional.mse_loss(module(inputs[chosen]), wanted[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    last = module.layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(spread)
        last.bias.mul_(spread).add_(center)
    return module.eval()

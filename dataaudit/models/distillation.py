"""A small network that stands in for an estimator without gradients (distillation)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor, nn

from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataAuditError, ModelError
from dataaudit.models.table_encoding import TableEncoding
from dataaudit.progress import track

SURROGATE_WIDTH = 128
_SURROGATE_STEPS = 1000
_SURROGATE_ROWS = 50_000
"""Rows that the stand-in learns from, drawn at random where there are more."""
_ROWS_PER_STEP = 128
_ROWS_PER_READ = 4096

Prepare = Callable[[pd.DataFrame], Any]
Ask = Callable[[pd.DataFrame], NDArray[Any]]
Loss = Callable[[Tensor, Tensor], Tensor]


class Standardized(nn.Module):
    """Layers behind inputs of mean 0 and deviation 1."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, layers: nn.Sequential) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = layers

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, `[rows, outputs]`."""
        result: Tensor = self.layers((inputs - self.mean) / self.scale)
        return result


def distil(
    prepare: Prepare, ask: Ask, loss: Loss, train: Samples, seed: int
) -> tuple[nn.Module, TableEncoding]:
    """Fit a network to what an estimator says about its training rows.

    Parameters
    ----------
    prepare : callable
        From raw rows to what the last step of a pipeline is given.
    ask : callable
        From raw rows to what the estimator says, `[rows, width]`; around 0 and of size 1.
    loss : callable
        Of the network's outputs and what the estimator says, both `[rows, width]`.
    train : Samples
        At most 50,000 of them are learned from.
    seed : int

    Returns
    -------
    torch.nn.Module, and the encoding of what `prepare` returns as the module's inputs
    """
    prepared, targets = _distillation_set(prepare, ask, train, seed)
    encoding = TableEncoding.fit(prepared)
    inputs = torch.tensor(encoding(prepared)).float()
    mean, scale = mean_and_scale(inputs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Linear(len(mean), SURROGATE_WIDTH),
            nn.ReLU(),
            nn.Linear(SURROGATE_WIDTH, targets.shape[1]),
        )
        module = Standardized(mean, scale, layers)
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
        for _ in track(range(_SURROGATE_STEPS), "fitting a network to the estimator"):
            chosen = torch.randint(len(inputs), (_ROWS_PER_STEP,))
            value = loss(module(inputs[chosen]), targets[chosen])
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return module.eval(), encoding


def mean_and_scale(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each column, 1 where it does not vary."""
    scale = inputs.std(dim=0, correction=0)
    scale[scale < 1e-12] = 1.0
    return inputs.mean(dim=0), scale


def rows_to_learn_from(train: Samples, seed: int) -> Iterator[pd.DataFrame]:
    """Yield the raw rows of the training set, or of a random part of it, block by block."""
    positions = np.arange(len(train))
    if len(positions) > _SURROGATE_ROWS:
        generator = np.random.default_rng(seed)
        positions = np.sort(generator.choice(positions, _SURROGATE_ROWS, replace=False))
    for start in range(0, len(positions), _ROWS_PER_READ):
        yield train.take(positions[start : start + _ROWS_PER_READ]).frame


def _distillation_set(
    prepare: Prepare, ask: Ask, train: Samples, seed: int
) -> tuple[pd.DataFrame, Tensor]:
    """Return what the last step is given, and what the estimator says, `[rows, width]`."""
    prepared, targets = [], []
    for frame in rows_to_learn_from(train, seed):
        prepared.append(_as_frame(prepare, frame))
        targets.append(torch.tensor(ask(frame)).float())
    return pd.concat(prepared, ignore_index=True), torch.cat(targets)


def _as_frame(prepare: Prepare, frame: pd.DataFrame) -> pd.DataFrame:
    try:
        return pd.DataFrame(prepare(frame))
    except DataAuditError:
        raise
    except Exception as error:
        # The steps before the last one are the user's, and so are the types of the columns.
        text = " ".join(str(error).split())[:400]
        raise ModelError(
            f"the estimator's own preparation of the rows failed: {type(error).__name__}: {text}"
        ) from error


def probabilities(estimator: Any, values: Any) -> NDArray[Any]:
    """Return `[rows, classes]`, of decision values where the estimator has no probabilities.

    Raises
    ------
    ModelError
        It fails, returns something else, or decides between pairs of classes.
    """
    name, classes = type(estimator).__name__, len(estimator.classes_)
    if hasattr(estimator, "predict_proba"):
        found = np.asarray(asked(estimator, "predict_proba", values))
        if found.shape != (len(found), classes) or not np.isfinite(found).all():
            raise ModelError(
                f"{name}: predict_proba returned {_described(found)}; expected finite numbers "
                f"[rows, {classes}], a probability of each class"
            )
        return found
    found = as_probabilities(np.asarray(asked(estimator, "decision_function", values)))
    if found.shape[1] != len(estimator.classes_):
        raise ModelError(
            f"{name} has {found.shape[1]} decision values for "
            f"{classes} classes; set decision_function_shape='ovr', which needs no "
            "new fit"
        )
    return found


def asked(estimator: Any, method: str, values: Any) -> Any:
    """Return what a method of the user's estimator says of some rows.

    Raises
    ------
    ModelError
        It fails, in whatever way.
    """
    try:
        return getattr(estimator, method)(values)
    except Exception as error:
        # The user's own code runs here; whatever it raises, the estimator is what is wrong.
        text = " ".join(str(error).split())[:400]
        raise ModelError(
            f"{type(estimator).__name__}: {method} failed on rows of the data: "
            f"{type(error).__name__}: {text}; expected it to take rows as it was fitted on them"
        ) from error


def _described(found: NDArray[Any]) -> str:
    numbers = found.dtype.kind == "f" and not np.isfinite(found).all()
    return f"an array of shape {found.shape}" + (" with NaN or infinite values" if numbers else "")


def as_probabilities(decisions: NDArray[Any]) -> NDArray[Any]:
    """Return `[rows, classes]`: the softmax of decision values, or of one value the sigmoid."""
    if decisions.ndim == 1 or decisions.shape[1] == 1:
        second = expit(decisions.reshape(-1))
        return np.column_stack([1 - second, second])
    return np.asarray(softmax(decisions, axis=1))

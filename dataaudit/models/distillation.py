"""A small network that stands in for an estimator without gradients (distillation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor, nn

from dataaudit.datasets.samples import Samples
from dataaudit.errors import ModelError
from dataaudit.models.table_encoding import TableEncoding
from dataaudit.models.trained import Preprocess
from dataaudit.progress import track

SURROGATE_WIDTH = 128
_SURROGATE_STEPS = 1000
_SURROGATE_ROWS = 50_000
"""Rows that the stand-in learns from, drawn at random where there are more."""
_ROWS_PER_STEP = 128
_ROWS_PER_READ = 4096

Prepare = Callable[[pd.DataFrame], Any]


class _Surrogate(nn.Module):
    """A standardising input and one hidden layer."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = nn.Sequential(
            nn.Linear(len(mean), SURROGATE_WIDTH),
            nn.ReLU(),
            nn.Linear(SURROGATE_WIDTH, classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.layers((inputs - self.mean) / self.scale)
        return result


def distil(
    estimator: Any, prepare: Prepare, select: Preprocess, train: Samples, seed: int
) -> tuple[nn.Module, TableEncoding]:
    """Fit a network to an estimator's probabilities.

    Parameters
    ----------
    estimator : fitted classifier or pipeline
    prepare : callable
        From raw rows to what the last step of the pipeline is given.
    select : callable
        From raw rows to what the estimator is given.
    train : Samples
        At most 50,000 of them are learned from.
    seed : int

    Returns
    -------
    torch.nn.Module, and the encoding of what `prepare` returns as the module's inputs

    Raises
    ------
    ModelError
        The estimator decides between pairs of classes.
    """
    prepared, targets = _distillation_set(estimator, prepare, select, train, seed)
    encoding = TableEncoding.fit(prepared)
    inputs = torch.tensor(encoding(prepared)).float()
    mean, scale = inputs.mean(dim=0), inputs.std(dim=0, correction=0)
    scale[scale < 1e-12] = 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _Surrogate(mean, scale, targets.shape[1])
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
        for _ in track(range(_SURROGATE_STEPS), "fitting a network to the estimator"):
            chosen = torch.randint(len(inputs), (_ROWS_PER_STEP,))
            loss = nn.functional.cross_entropy(module(inputs[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return module.eval(), encoding


def _distillation_set(
    estimator: Any, prepare: Prepare, select: Preprocess, train: Samples, seed: int
) -> tuple[pd.DataFrame, Tensor]:
    """Return what the last step is given, and the estimator's probabilities `[rows, classes]`."""
    positions = np.arange(len(train))
    if len(positions) > _SURROGATE_ROWS:
        generator = np.random.default_rng(seed)
        positions = np.sort(generator.choice(positions, _SURROGATE_ROWS, replace=False))
    prepared, targets = [], []
    for start in range(0, len(positions), _ROWS_PER_READ):
        frame = train.take(positions[start : start + _ROWS_PER_READ]).frame
        prepared.append(pd.DataFrame(prepare(frame)))
        targets.append(torch.tensor(_probabilities(estimator, select(frame))).float())
    return pd.concat(prepared, ignore_index=True), torch.cat(targets)


def _probabilities(estimator: Any, values: Any) -> NDArray[Any]:
    """Return `[rows, classes]`, of decision values where the estimator has no probabilities.

    Raises
    ------
    ModelError
        It decides between pairs of classes.
    """
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(values))
    found = as_probabilities(np.asarray(estimator.decision_function(values)))
    if found.shape[1] != len(estimator.classes_):
        raise ModelError(
            f"{type(estimator).__name__} has {found.shape[1]} decision values for "
            f"{len(estimator.classes_)} classes; set decision_function_shape='ovr', which needs no "
            "new fit"
        )
    return found


def as_probabilities(decisions: NDArray[Any]) -> NDArray[Any]:
    """Return `[rows, classes]`: the softmax of decision values, or of one value the sigmoid."""
    if decisions.ndim == 1 or decisions.shape[1] == 1:
        second = expit(decisions.reshape(-1))
        return np.column_stack([1 - second, second])
    return np.asarray(softmax(decisions, axis=1))

"""What the influence rivals share: batches, the counting of gradients, one score for each row."""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
from mislabel_methods import NotApplicableError
from mislabel_training import Meter
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

OPPONENTS = 20
"""Held-out samples that speak most against a row; all together they cancel out."""
BATCH = 250
SMALL_BATCH = 25
"""For dattri's single gradients: with 50 images and more it took over twice as long, memory being
taken and given back each time."""
LARGE_BATCH = 500
"""For packages that redo work for each batch: random projections, gradients of all queries."""


def need_package(module: str, package: str | None = None) -> None:
    if importlib.util.find_spec(module) is None:
        raise NotApplicableError(f"{package or module} is not installed")


def loader(inputs: Tensor, labels: NDArray[np.int64], batch_size: int) -> DataLoader:
    return DataLoader(TensorDataset(inputs, torch.tensor(labels)), batch_size=batch_size)


def count_gradients(meter: Meter, count: int) -> None:
    """Count gradients of single samples, three passes each: vmap hides them from the meter."""
    meter.cost.forward_passes += 3 * count


def opposition(influence: Tensor) -> NDArray[np.float64]:
    """Return minus the mean of the most negative influences, from `[rows, held_out]`."""
    count = min(OPPONENTS, influence.shape[1])
    return -influence.double().topk(count, dim=1, largest=False).values.mean(dim=1).numpy()

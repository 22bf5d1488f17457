"""Queries: held-out samples and suspects, split and grouped before the mirror sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples
from dataaudit.mirror.finite import Part
from dataaudit.models.trained import TrainedModel

ROWS_PER_READ = 2048

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class HeldOutSplit:
    """Held-out positions: `learned` by the mirror, and `kept_back` for stopping and calibration."""

    learned: Positions
    kept_back: Positions


def split_held_out(labels: NDArray[np.int64], kept_back_share: float, seed: int) -> HeldOutSplit:
    """Split the held-out samples, class by class, at random.

    Parameters
    ----------
    labels : int64 `[queries]`
    kept_back_share : float
        Share of each class to keep back, 0 to 1, rounded; a class of one sample is learned.
    seed : int

    Returns
    -------
    HeldOutSplit
        Both parts sorted by position.
    """
    generator = np.random.default_rng(seed)
    kept: list[NDArray[np.int64]] = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        kept.append(members[: round(len(members) * kept_back_share)])
    kept_back = np.sort(np.concatenate(kept)) if kept else np.zeros(0, dtype=np.int64)
    learned = np.setdiff1d(np.arange(len(labels)), kept_back)
    return HeldOutSplit(learned, kept_back)


def endless_batches(
    model: TrainedModel, samples: Samples, positions: Positions, batch_size: int, seed: int
) -> Iterator[Part]:
    """Yield batches of inputs and labels for ever, each sample once before any comes again.

    Parameters
    ----------
    model : TrainedModel
        Preprocesses the samples.
    samples : Samples
    positions : int64 `[n]`
        The samples to draw from, at least one.
    batch_size : int
        Samples in each batch; a batch spans two shuffles where needed.
    seed : int

    Yields
    ------
    tuple of inputs `[batch_size, ...]` and labels `[batch_size]`
        On the model's device.
    """
    generator = np.random.default_rng(seed)
    # Read many rows at a time: for most formats reading a row costs as much as reading a block.
    per_read = max(1, ROWS_PER_READ // batch_size) * batch_size
    waiting = np.zeros(0, dtype=np.int64)
    while True:
        while len(waiting) < per_read:
            waiting = np.concatenate([waiting, generator.permutation(positions)])
        drawn, waiting = waiting[:per_read], waiting[per_read:]
        unique, lines = np.unique(drawn, return_inverse=True)
        block = samples.take(unique)
        for start in range(0, per_read, batch_size):
            batch = block.select(lines[start : start + batch_size])
            labels = torch.as_tensor(batch.labels, device=model.device)
            yield model.inputs(batch, samples), labels

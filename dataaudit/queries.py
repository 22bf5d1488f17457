"""Queries: held-out samples and suspects, split and grouped before the mirror sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

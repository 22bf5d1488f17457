"""Composition: how many rows of each class, label or range of targets each split holds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples
from dataaudit.inputs import Loaded

RANGES = 4
"""Ranges that targets are counted in, with equally many training rows each."""


def composition(loaded: Loaded) -> pd.DataFrame:
    """Return `split`, `class`, `rows`.

    Of label sets and tags, a row counts for each label that it carries; of regression targets, a
    class is a range between quartiles of the training rows' targets.
    """
    splits = [s for s in (loaded.train, loaded.held_out, loaded.suspects) if s is not None]
    lines = [
        {"split": samples.role, "class": name, "rows": count}
        for samples in splits
        if samples.labelled
        for name, count in _counts(samples, loaded.train)
    ]
    return pd.DataFrame(lines, columns=["split", "class", "rows"])


def _counts(samples: Samples, train: Samples) -> list[tuple[str, int]]:
    names = [str(name) for name in samples.classes]
    if samples.labels.ndim == 2:
        counts = samples.carried().sum(axis=0)
    elif names:
        counts = np.bincount(samples.labels, minlength=len(names))
    else:
        edges = np.unique(np.quantile(train.labels, np.linspace(0, 1, RANGES + 1)[1:-1]))
        names = _range_names(edges)
        places = np.searchsorted(edges, samples.labels, side="right")
        counts = np.bincount(places, minlength=len(names))
    return [(name, int(count)) for name, count in zip(names, counts, strict=True)]


def _range_names(edges: NDArray[np.float64]) -> list[str]:
    texts = [f"{edge:.4g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(texts)]
    return [f"below {texts[0]}", *between, f"{texts[-1]} or more"]

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


def missing_values(samples: Samples, block: int = 4096) -> dict[str, int] | None:
    """Return, per column of a table, how many rows have no value; None where rows are no table.

    Columns without a missing value are left out.
    """
    if samples.modality != "table":
        return None
    totals: dict[str, int] = {}
    special = samples.special_columns()
    for batch in samples.batches(block):
        frame = batch.frame
        for name in [name for name in frame.columns if name not in special]:
            totals[str(name)] = totals.get(str(name), 0) + int(frame[name].isna().sum())
    return {name: count for name, count in totals.items() if count}


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

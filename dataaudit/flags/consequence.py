"""What leaks mean: for the metric, for the labels of training rows, for groups in both sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dataaudit.flags.results import Interval
from dataaudit.storage.same_keys import SameKeys

RESAMPLES = 2000

IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class MetricWithout:
    """A mean metric on all suspects, on those that are not flagged, and all minus those.

    A positive difference: the leaks flattered the model. Without a suspect left, the latter two
    are not a number.
    """

    everything: Interval
    clean: Interval
    difference: Interval


_UNKNOWN = Interval(np.nan, np.nan, np.nan)
NO_METRIC = MetricWithout(_UNKNOWN, _UNKNOWN, _UNKNOWN)
"""Of suspects without labels."""


def metric_without(values: ArrayLike, flagged: ArrayLike, seed: int = 0) -> MetricWithout:
    """Compare a metric with and without the flagged suspects, by a paired bootstrap.

    Parameters
    ----------
    values : `[suspects]`
        1 where the model is right and 0 where it is wrong, or any other value per suspect.
    flagged : bool `[suspects]`
    seed : int
    """
    value, out = np.asarray(values, dtype=np.float64), np.asarray(flagged, dtype=bool)
    generator = np.random.default_rng(seed)
    means = np.full((RESAMPLES, 2), np.nan)
    for line in means:
        drawn = generator.integers(0, len(value), len(value))
        sample, kept = value[drawn], ~out[drawn]
        line[0] = sample.mean()
        if kept.any():
            line[1] = sample[kept].mean()
    estimates = [value.mean(), value[~out].mean() if (~out).any() else np.nan]
    return MetricWithout(
        _interval(estimates[0], means[:, 0]),
        _interval(estimates[1], means[:, 1]),
        _interval(estimates[0] - estimates[1], means[:, 0] - means[:, 1]),
    )


def _interval(estimate: float, draws: NDArray[np.float64]) -> Interval:
    if np.isnan(estimate):
        return Interval(np.nan, np.nan, np.nan)
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Interval(float(estimate), float(low), float(high))


LabelsAt = Callable[[IndexArray], NDArray[Any]]
"""Gives the labels of the rows at some positions, so that those of all rows need not be held."""


def identical_pairs(same: SameKeys, labels_at: LabelsAt) -> IndexArray:
    """Pair rows of identical content with one of another label, each row with one other at most.

    Parameters
    ----------
    same : SameKeys
        The rows of identical content.
    labels_at : callable

    Returns
    -------
    int64 `[pairs, 2]`
        Positions: the earliest row of that content, and a later one whose label differs from it.
    """
    pairs = [np.zeros((0, 2), np.int64)]
    for rows, first in same.with_first():
        differing = np.flatnonzero(labels_at(rows) != labels_at(first))
        pairs.append(np.stack([first[differing], rows[differing]], axis=1))
    return np.concatenate(pairs)


def disagreeing_duplicates(
    row_ids: ArrayLike, labels_at: LabelsAt, pairs: ArrayLike, similarity: ArrayLike
) -> pd.DataFrame:
    """List pairs of training rows that are duplicates but carry different labels.

    Parameters
    ----------
    row_ids : `[rows]`
    labels_at : callable
    pairs : int `[pairs, 2]`
        Positions of rows that are duplicates of each other.
    similarity : `[pairs]`
        At most 1, the same content.

    Returns
    -------
    pandas.DataFrame
        `row_id`, `other_row_id`, `label`, `other_label`, `similarity`; each pair once, the most
        alike first.
    """
    names = np.asarray(row_ids)
    ordered = np.sort(np.asarray(pairs, np.int64).reshape(-1, 2), axis=1)
    labels, others = map(labels_at, ordered.T)
    differs = labels != others
    low, high = ordered[differs].T
    table = pd.DataFrame(
        {
            "row_id": _as_objects(names[low]),
            "other_row_id": _as_objects(names[high]),
            "label": labels[differs],
            "other_label": others[differs],
            "similarity": np.asarray(similarity, np.float64)[differs],
            "low": low,
            "high": high,
        }
    )
    table = table.sort_values(["similarity", "low", "high"], ascending=[False, True, True])
    table = table.drop_duplicates(["low", "high"])
    return table.drop(columns=["low", "high"]).reset_index(drop=True)


def _as_objects(values: NDArray[Any]) -> NDArray[np.object_]:
    """Return values as what Python has for them."""
    found = np.empty(len(values), object)
    found[:] = values.tolist()
    return found


def shared_groups(suspect_groups: ArrayLike, row_groups: ArrayLike) -> pd.DataFrame:
    """Count suspects and training rows of each group (patient, user, document) found in both.

    Parameters
    ----------
    suspect_groups, row_groups : `[suspects]`, `[rows]`
        Missing keys belong to no group.

    Returns
    -------
    pandas.DataFrame
        `group`, `suspects`, `rows`; most suspects first.
    """
    suspects = pd.Series(np.asarray(suspect_groups, object)).dropna().value_counts()
    rows = pd.Series(np.asarray(row_groups, object)).dropna().value_counts()
    shared = suspects.index[suspects.index.isin(rows.index)]
    table = pd.DataFrame(
        {
            "group": pd.Series(list(shared), dtype=object),
            "suspects": suspects[shared].to_numpy(np.int64),
            "rows": rows[shared].to_numpy(np.int64),
        }
    )
    return table.sort_values("suspects", ascending=False, kind="stable").reset_index(drop=True)

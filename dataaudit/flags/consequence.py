"""What leaks mean: for the metric, for the labels of training rows, for groups in both sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dataaudit.flags.results import Interval

RESAMPLES = 2000


@dataclass(frozen=True)
class MetricWithout:
    """A mean metric on all suspects, on those that are not flagged, and all minus those.

    A positive difference: the leaks flattered the model. Without a suspect left, the latter two
    are not a number.
    """

    everything: Interval
    clean: Interval
    difference: Interval


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
        kept = ~out[drawn]
        line[0] = value[drawn].mean()
        if kept.any():
            line[1] = value[drawn][kept].mean()
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


def disagreeing_duplicates(
    row_ids: Sequence[object],
    labels: ArrayLike,
    matches: ArrayLike,
    content: ArrayLike,
    threshold: float,
) -> pd.DataFrame:
    """List pairs of training rows that are duplicates but carry different labels.

    Args:
        matches, content: [rows, matches] of the training rows against each other, self left out.
        threshold: similarity from which two rows count as duplicates.

    Returns:
        row_id, other_row_id, label, other_label, score; each pair once, most alike first.
    """
    given, rows = np.asarray(labels), np.asarray(matches, np.int64)
    left, place = np.nonzero((rows >= 0) & (np.asarray(content) >= threshold))
    right = rows[left, place]
    score = np.asarray(content, np.float64)[left, place]
    differs = given[left] != given[right]
    low, high = np.minimum(left, right)[differs], np.maximum(left, right)[differs]
    names = np.asarray(row_ids, object)
    table = pd.DataFrame(
        {
            "row_id": names[low],
            "other_row_id": names[high],
            "label": given[low],
            "other_label": given[high],
            "score": score[differs],
            "low": low,
            "high": high,
        }
    )
    table = table.sort_values(["score", "low", "high"], ascending=[False, True, True])
    table = table.drop_duplicates(["low", "high"])
    return table.drop(columns=["low", "high"]).reset_index(drop=True)


def shared_groups(suspect_groups: ArrayLike, row_groups: ArrayLike) -> pd.DataFrame:
    """Count suspects and training rows of each group (patient, user, document) found in both.

    Returns:
        group, suspects, rows; most suspects first. Missing keys belong to no group.
    """
    suspects = pd.Series(np.asarray(suspect_groups, object)).dropna().value_counts()
    rows = pd.Series(np.asarray(row_groups, object)).dropna().value_counts()
    shared = [key for key in suspects.index if key in rows.index]
    table = pd.DataFrame(
        {
            "group": pd.Series(shared, dtype=object),
            "suspects": [int(suspects[key]) for key in shared],
            "rows": [int(rows[key]) for key in shared],
        }
    )
    return table.sort_values("suspects", ascending=False, kind="stable").reset_index(drop=True)

"""Rows whose label a reviewer has settled: not flagged again, and no part of what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.flags.flagged_precision import carried_over
from dataaudit.flags.results import Interval, MislabelFlags
from dataaudit.flags.tables import FlagSettings, budget_curve, threshold


def without_settled(
    flags: MislabelFlags,
    settled: NDArray[np.bool_],
    budget: int | None,
    row_groups: NDArray[Any] | None = None,
) -> MislabelFlags:
    """Return the flags with the labels of some rows known to be right.

    Their probability becomes 0, and their rank the last; the estimated shares of wrong labels
    fall by what they had been given. Scores stay.

    Parameters
    ----------
    flags : MislabelFlags
        Of classes, grades or targets.
    settled : bool `[rows]`
    budget : int or None
        As `FlagSettings.budget`.
    row_groups : `[rows]` or None
        As `FlagSettings.row_groups`.
    """
    before = flags.table["probability"].to_numpy(dtype=float)
    cleared = np.where(settled, before, 0.0)
    table = flags.table.copy()
    table["probability"] = before - cleared
    order = np.lexsort((flags.table["rank"], settled))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    table["rank"] = rank
    if budget is None:
        table["flagged"] &= ~settled
    else:
        table["flagged"] = (rank <= budget) & ~settled
    probability = table["probability"].to_numpy(dtype=float)
    flagged = table["flagged"].to_numpy()
    flagged_before = flags.table["flagged"].to_numpy(dtype=bool)
    classes = flags.table["given_label"].astype(str)
    return replace(
        flags,
        table=table,
        noise_rate=_less(flags.noise_rate, float(cleared.mean())),
        noise_per_class=_rates(flags.noise_per_class, "class", classes, table, cleared),
        noise_per_group=flags.noise_per_group
        if flags.noise_per_group is None or row_groups is None
        else _rates(
            flags.noise_per_group,
            "group",
            pd.Series([None if name is None else str(name) for name in row_groups]),
            table,
            cleared,
        ),
        noise_table=_right(flags.noise_table, flags.table, cleared),
        expected_precision=budget_curve(probability, rank, flagged),
        probability_threshold=flags.probability_threshold
        if budget is None
        else threshold(probability, flagged, FlagSettings(budget=budget)),
        precision_flagged=None
        if flags.precision_flagged is None
        else carried_over(flags.precision_flagged, flagged_before, flagged, probability),
    )


def _less(rate: Interval, share: float) -> Interval:
    return Interval(*(max(value - share, 0.0) for value in (rate.estimate, rate.low, rate.high)))


def _rates(
    before: pd.DataFrame,
    name: str,
    parts: pd.Series,
    table: pd.DataFrame,
    cleared: NDArray[np.float64],
) -> pd.DataFrame:
    """Return the lines of classes or groups with what is flagged, and thought wrong, now.

    `parts` `[rows]` says which one each row is of, `name` is the column of these in `before`.
    """
    flagged = table["flagged"].groupby(parts.to_numpy()).sum()
    share = pd.Series(cleared).groupby(parts.to_numpy()).mean()
    after = before.copy()
    names = before[name].astype(str)
    after["flagged"] = names.map(flagged).fillna(0).astype(int)
    for column in ("noise_rate", "low", "high"):
        after[column] = (before[column] - names.map(share).fillna(0.0)).clip(lower=0.0)
    return after


def _right(noise: pd.DataFrame, table: pd.DataFrame, cleared: NDArray[np.float64]) -> pd.DataFrame:
    """Return the table of given and true classes with the settled rows moved to its diagonal."""
    if noise.empty:
        return noise
    # Its classes are named by text, those of the rows may be numbers.
    given, suggested = (table[side].astype(str) for side in ("given_label", "suggested_label"))
    moved = pd.crosstab(given, suggested, values=cleared, aggfunc="sum")
    moved = moved.reindex(index=noise.index, columns=noise.columns).fillna(0.0)
    after = (noise - moved).clip(lower=0.0)
    values = after.to_numpy(copy=True)
    # The sum of each line is the number of rows with that label.
    np.fill_diagonal(values, values.diagonal() + (noise - after).to_numpy().sum(axis=1))
    return pd.DataFrame(values, index=noise.index, columns=noise.columns)

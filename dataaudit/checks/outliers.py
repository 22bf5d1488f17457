"""Rows that lie far from all others, and values far beyond those of all other rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.examined import Examined
from dataaudit.report import formats

NEIGHBOURS = 3
"""So many rows may lie together and still be far from all others."""
FAR_VALUE = 2.3
"""Values are far if, on a logarithmic scale of the distance from the median, no other lies between
them and so much nearer: about ten times further out."""
MOST_FAR = 0.01
"""More than this share of the rows are no slip, but another kind of rows."""
FEWEST_VALUES = 20
"""Different values of a column, or its largest are a rare category."""
FAR_ROW = 5.0
"""A row is far if the distance to its third neighbour is so many times the 99th percentile."""
FEWEST_ROWS = 50
MOST_NUMBERS = 100
MOST_ROWS = 10_000
"""Rows whose distances to each other are measured."""


class Outliers(Check):
    """Finds far values in each column, and far rows over all of them.

    Numbers are put on the scale arsinh((value - median) / spread), where heavy tails are even.
    """

    name = "outliers"
    title = "Values and rows far from all others"
    modalities = ("table", "tensor")

    def look(self, data: Examined) -> Found:
        """Look at an even choice of training rows."""
        columns = data.columns
        names = list(columns.numbers)[:MOST_NUMBERS]
        if not names or len(columns.positions) < FEWEST_ROWS:
            return Found("There are no columns of numbers, or too few rows.", cannot_tell=True)
        scaled = np.column_stack([_scaled(columns.numbers[name]) for name in names])
        ids = data.train.ids[columns.positions]
        issues = []
        for place, name in enumerate(names):
            gap = _gaps(scaled[:, place])
            for row in np.flatnonzero(gap >= FAR_VALUE):
                value = formats.number(float(columns.numbers[name][row]))
                what = f"{value} is far beyond the values of the other rows"
                issues.append(Issue(what, "train", float(gap[row]), _plain(ids[row]), name))
        known = {issue.row_id for issue in issues}
        far = _far_rows(scaled[:MOST_ROWS])
        for row in np.flatnonzero(far >= FAR_ROW):
            if _plain(ids[row]) not in known:
                what = f"{far[row]:.1f} times as far from other rows as 99% of the rows are"
                issues.append(Issue(what, "train", float(far[row]), _plain(ids[row])))
        if not issues:
            return Found("No row and no value lies far from all others.")
        return Found(
            f"{formats.rows(len(issues), 'value or row', 'values or rows')} "
            f"{'lies' if len(issues) == 1 else 'lie'} far from all others: a unit that was mixed "
            "up, a slip of the pen, or a rare case.",
            sorted(issues, key=lambda issue: -issue.score),
        )


def _plain(row_id: object) -> str | int:
    return row_id if isinstance(row_id, str) else int(row_id)  # type: ignore[call-overload]


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return np.zeros(len(values))
    low, middle, high = np.percentile(known, [25, 50, 75])
    spread = (high - low) / 1.349 or float(known.std()) or 1.0
    return np.nan_to_num(np.arcsinh((values - middle) / spread))


def _gaps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the widest gap between a far value and those nearer to the median; 0 for others."""
    order = np.argsort(values, kind="stable")
    steps, gaps = np.diff(values[order]), np.zeros(len(values))
    if np.count_nonzero(steps) < FEWEST_VALUES:
        return gaps
    most = max(NEIGHBOURS, int(MOST_FAR * len(values)))
    # From the inside outwards: a value is as far as the widest gap before it.
    gaps[order[-most:]] = np.maximum.accumulate(steps[-most:])
    gaps[order[:most]] = np.maximum.accumulate(steps[:most][::-1])[::-1]
    return gaps


def _far_rows(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance to the third neighbour, in 99th percentiles, `[rows]`."""
    near = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(scaled)
    distance = near.kneighbors(scaled)[0][:, -1]
    usual = float(np.percentile(distance, 99))
    return np.asarray(distance / usual if usual > 0 else np.zeros(len(distance)))

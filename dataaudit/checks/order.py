"""Rows that stand in an order: sorted by label, say, or by when they were collected."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, kruskal

from dataaudit.checks.check import LEVEL, Check, Found, Issue
from dataaudit.checks.examined import Examined
from dataaudit.checks.one_column import judged
from dataaudit.report import formats

BLOCKS = 10
"""Parts of the file that are held against each other."""
LEAST = 0.04
"""Share of a column's variation that the place in the file explains, from which it is reported."""
MOST_VALUES = 50
"""Values of a column of words, the commonest; the others are taken together."""
FEWEST_ROWS = 100


class Order(Check):
    """Cuts the training rows into ten parts, as they stand, and compares each column among them.

    Numbers by Kruskal and Wallis's test, words and labels by chi-squared, with Bonferroni's
    correction; the effect is the share of variation (of ranks, or Cramér's V squared) explained.
    """

    name = "order"
    title = "Rows that stand in an order"

    def look(self, data: Examined) -> Found:
        """Look at an even choice of training rows."""
        rows = len(data.columns.positions)
        if rows < FEWEST_ROWS:
            return Found(f"There are fewer than {FEWEST_ROWS} rows.", cannot_tell=True)
        part = np.arange(rows) * BLOCKS // rows
        columns = list(_columns(data))
        issues = []
        for name, values in columns:
            effect, p_value = _explained(values, part)
            if effect >= LEAST and p_value <= LEVEL / len(columns):
                what = f"the place in the file explains {formats.percent(effect)} of its variation"
                issues.append(Issue(what, "train", effect, column=name))
        if not issues:
            return Found("Nothing depends on where a row stands in the file.")
        return Found(
            f"{formats.rows(len(issues), 'column')} "
            f"{'depends' if len(issues) == 1 else 'depend'} on where a row stands. A split by "
            "position, or batches read in this order, are not random.",
            sorted(issues, key=lambda issue: -issue.score),
        )


def _columns(data: Examined) -> Iterator[tuple[str, NDArray[np.generic]]]:
    columns = data.columns
    yield from columns.numbers.items()
    yield from columns.words.items()
    if data.labelled:
        usable, labels = judged(columns), columns.labels
        if labels.dtype.kind == "f":
            yield "(label)", np.where(usable, labels, np.nan)
        else:
            yield "(label)", np.where(usable, labels, -1).astype(str)


def _explained(values: NDArray[np.generic], part: NDArray[np.int64]) -> tuple[float, float]:
    """Return the share of variation that the part explains, and the p-value of none."""
    if values.dtype.kind == "f":
        numbers = values.astype(np.float64)
        known = ~np.isnan(numbers)
        groups = [numbers[known & (part == place)] for place in range(BLOCKS)]
        groups = [group for group in groups if len(group)]
        rows = sum(map(len, groups))
        if len(groups) < 2 or len(np.unique(numbers[known])) < 2:
            return 0.0, 1.0
        found = kruskal(*groups)
        # Epsilon squared, less what chance gives.
        effect = (found.statistic - len(groups) + 1) / max(rows - len(groups), 1)
        return float(effect), float(found.pvalue)
    place, names = pd.factorize(values, sort=True)
    common = np.argsort(-np.bincount(place), kind="stable")[:MOST_VALUES]
    column = np.full(len(names), len(common))
    column[common] = np.arange(len(common))
    table = np.zeros((BLOCKS, len(common) + 1))
    np.add.at(table, (part, column[place]), 1)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 0.0, 1.0
    found = chi2_contingency(table)
    freedom = (BLOCKS - 1) * (table.shape[1] - 1)
    effect = (found.statistic - freedom) / (len(values) * (min(table.shape) - 1))
    return float(effect), float(found.pvalue)

"""Drift: columns that are distributed otherwise in training rows than in the other splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp

from dataaudit.checks.check import LEVEL, Check, Found, Issue
from dataaudit.checks.columns import Columns
from dataaudit.checks.examined import Examined
from dataaudit.checks.one_column import judged
from dataaudit.report import formats

LEAST = 0.1
"""Effect from which a difference is reported: the largest distance of two distributions (numbers),
or the share of rows that would have to change (words, labels)."""
FEWEST = 5
"""Values that fewer rows have are taken together."""
FEWEST_ROWS = 30
SHOWN = 5
"""Columns that are named because they were not compared."""
WORDS = {"held_out": "trusted samples"}
"""What people call a split, where it is not its name."""

Pair = tuple[str, str, NDArray[np.generic], NDArray[np.generic]]
"""Split, column, and its values in training rows and there."""


class Drift(Check):
    """Compares each column, and the labels, between training rows and the other splits.

    An effect counts if it is large and if chance does not explain it: Kolmogorov and Smirnov's test
    for numbers, chi-squared for words, with Bonferroni's correction.
    """

    name = "drift"
    title = "Differences between training rows and the other splits"

    def lacking(self, data: Examined) -> str | None:
        """Say that there is nothing to compare with."""
        return None if data.others else "neither trusted samples nor suspects were given"

    def look(self, data: Examined) -> Found:
        """Look at an even choice of the rows of each split."""
        pairs = [
            pair
            for role, theirs in data.other_columns.items()
            if len(theirs.positions) >= FEWEST_ROWS
            for pair in _pairs(data.columns, theirs, role, labelled=_labelled(data, role))
        ]
        compared = [pair for pair in pairs if _is_enough(pair)]
        if not compared:
            return Found(
                f"No column has {FEWEST_ROWS} values or more on both sides.", cannot_tell=True
            )
        lost = _not_compared(data, [pair for pair in pairs if not _is_enough(pair)])
        issues = []
        for role, name, here, there in compared:
            effect, p_value = _difference(here, there)
            if effect >= LEAST and p_value <= LEVEL / len(compared):
                what = f"differs from training by {formats.percent(effect)} of the rows"
                issues.append(Issue(what, role, effect, column=name))
        if not issues:
            return Found(
                f"No column differs much between training rows and the other splits.{lost}"
            )
        return Found(
            f"{formats.rows(len(issues), 'column')} "
            f"{'is' if len(issues) == 1 else 'are'} distributed otherwise than in training. What "
            f"is measured there may not be what the model was trained for.{lost}",
            sorted(issues, key=lambda issue: -issue.score),
        )


def _is_enough(pair: Pair) -> bool:
    return min(len(pair[2]), len(pair[3])) >= FEWEST_ROWS


def _not_compared(data: Examined, pairs: Sequence[Pair]) -> str:
    """Return what was not compared, in words: numbers on one side may be words on the other."""
    small = [
        WORDS.get(role, role)
        for role, theirs in data.other_columns.items()
        if len(theirs.positions) < FEWEST_ROWS
    ]
    names = [*small, *(f"{name} of {WORDS.get(role, role)}" for role, name, _, _ in pairs)]
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        f" Not compared, with fewer than {FEWEST_ROWS} values of its kind: "
        f"{', '.join(names[:SHOWN])}{more}."
    )


def _labelled(data: Examined, role: str) -> bool:
    other = data.others[role]  # type: ignore[index]
    return data.labelled and other.labelled


def _pairs(train: Columns, other: Columns, role: str, *, labelled: bool) -> list[Pair]:
    pairs: list[Pair] = []
    for name, numbers in train.numbers.items():
        if name in other.numbers:
            here, there = numbers, other.numbers[name]
            pairs.append((role, name, here[~np.isnan(here)], there[~np.isnan(there)]))
    for name, words in train.words.items():
        if name in other.words:
            pairs.append((role, name, words, other.words[name]))
    if labelled:
        labels = train.labels[judged(train)], other.labels[judged(other)]
        kept = labels if labels[0].dtype.kind == "f" else tuple(map(_as_words, labels))
        pairs.append((role, "(label)", kept[0], kept[1]))
    return pairs


def _as_words(labels: NDArray[np.generic]) -> NDArray[np.str_]:
    return labels.astype(str)


def _difference(here: NDArray[np.generic], there: NDArray[np.generic]) -> tuple[float, float]:
    """Return the effect, from 0 to 1, and the p-value of no difference."""
    if here.dtype.kind == "f":
        found = ks_2samp(here, there, method="asymp")
        return float(found.statistic), float(found.pvalue)
    place, values = pd.factorize(np.concatenate([here, there]), sort=True)
    counts = np.stack(
        [
            np.bincount(part, minlength=len(values))
            for part in (place[: len(here)], place[len(here) :])
        ]
    )
    rare = counts.sum(axis=0) < FEWEST
    table = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 0.0, 1.0
    shares = table / table.sum(axis=1, keepdims=True)
    effect = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return effect, float(chi2_contingency(table).pvalue)

"""A feature that gives the target away: alone, and after grouping or rounding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.examined import Examined
from dataaudit.checks.one_column import OneColumn, every_column, judged
from dataaudit.report import formats

GIVES_AWAY = 0.97
"""Share of all errors that one feature may save before it is taken for the target in disguise."""
BY_CHANCE = 0.1
"""A feature that does so with shuffled labels, too, says nothing."""
LONGEST_PREFIX = 4
FEWEST_ROWS = 40


class TargetLeak(Check):
    """Predicts the label by each column alone, fitted on half of the rows, measured on the others.

    Numbers are cut at the best places, which undoes rounding, and by their last digit; words are
    taken whole and by their first letters, which undoes grouping.
    """

    name = "target_leak"
    title = "A feature that gives the label away"
    needs = frozenset({"labels"})
    serious = True

    def look(self, data: Examined) -> Found:
        """Look at an even choice of training rows."""
        columns, has_classes = data.columns, data.train.kind.has_classes
        usable = np.flatnonzero(judged(columns))
        if len(usable) < FEWEST_ROWS:
            return Found(f"There are fewer than {FEWEST_ROWS} rows with a label.", cannot_tell=True)
        generator = np.random.default_rng(data.seed)
        order = generator.permutation(usable)
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        labels = columns.labels
        shuffled = labels.copy()
        shuffled[usable] = generator.permutation(labels[usable])
        issues = []
        for name, values in every_column(columns):
            for how, seen in _views(values):
                known = OneColumn.fit(seen[first], labels[first], has_classes=has_classes)
                skill = known.skill(seen[second], labels[second])
                if skill < GIVES_AWAY:
                    continue
                null = OneColumn.fit(seen[first], shuffled[first], has_classes=has_classes)
                if null.skill(seen[second], shuffled[second]) <= BY_CHANCE:
                    what = f"{how} alone saves {formats.percent(skill)} of all errors"
                    issues.append(Issue(what, "train", skill, column=name))
                    break
        if not issues:
            return Found(
                "No single feature gives the label away, alone or after grouping or rounding."
            )
        return Found(
            f"{formats.rows(len(issues), 'feature')} nearly {'is' if len(issues) == 1 else 'are'} "
            "the label. If it is not known when the model is used, leave it out: the model has "
            "learned nothing else.",
            sorted(issues, key=lambda issue: -issue.score),
        )


def _views(values: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the ways in which a column is looked at."""
    yield "it", values
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (np.abs(values) < 2**53) & (values == np.rint(values))
        if whole.all() and len(np.unique(values)) > 10:
            yield "its last digit", (values.astype(np.int64) % 10).astype(str)
        return
    place, known = pd.factorize(values)
    told_apart = 1
    for length in range(1, LONGEST_PREFIX + 1):
        code, prefixes = pd.factorize(np.array([value[:length] for value in known], object))
        # Letters that tell no more values apart say nothing new, nor do those that tell all apart.
        if told_apart < len(prefixes) < len(known):
            told_apart = len(prefixes)
            yield f"its first {formats.rows(length, 'letter')}", prefixes[code[place]]

"""Slices of the data in which the model fails: found on one half of trusted samples, confirmed on
the other."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.tree import DecisionTreeRegressor

from dataaudit.checks.check import LEVEL, Check, Found, Issue
from dataaudit.checks.columns import Columns
from dataaudit.checks.examined import Examined
from dataaudit.checks.one_column import for_trees
from dataaudit.report import formats

DEEPEST = 3
"""Conditions that describe a slice."""
FEWEST_IN_SLICE = 20
LEAST = 0.3
"""How much worse a slice is than the rest, in standard deviations of how right the model is."""
CHI_SQUARED = 12.0
"""A split that chance makes nearly as good is not made: it would cut a slice in pieces."""
MOST_VALUES = 20
FEWEST_ROWS = 200


class Slices(Check):
    """Grows a small tree on how right the model is, and tests its leaves on samples not used."""

    name = "slices"
    title = "Slices in which the model fails"
    needs = frozenset({"held_out", "model"})

    def look(self, data: Examined) -> Found:
        """Look at an even choice of trusted samples."""
        columns = data.other_columns["held_out"]
        assert data.right is not None
        right = data.right[columns.positions]
        if len(right) < FEWEST_ROWS:
            return Found(f"There are fewer than {FEWEST_ROWS} trusted samples.", cannot_tell=True)
        names, table = _table(columns)
        if not names:
            return Found("There are no columns to describe slices by.", cannot_tell=True)
        order = np.random.default_rng(data.seed).permutation(len(right))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        spread = max(float(right.std()), 1e-12)
        tree = DecisionTreeRegressor(
            max_depth=DEEPEST,
            min_samples_leaf=max(FEWEST_IN_SLICE, len(first) // 50),
            min_impurity_decrease=spread**2 * max(0.01, CHI_SQUARED / len(first)),
            random_state=0,
        )
        tree.fit(table[first], right[first])
        found, tested = tree.apply(table[first]), tree.apply(table[second])
        if tree.tree_.node_count == 1:
            return Found("In no slice that a few conditions describe is the model clearly worse.")
        worse = [
            leaf
            for leaf in np.unique(found)
            if right[first][found != leaf].mean() - right[first][found == leaf].mean()
            >= LEAST * spread
        ]
        issues = []
        for leaf in worse:
            inside, rest = right[second][tested == leaf], right[second][tested != leaf]
            if min(len(inside), len(rest)) < FEWEST_IN_SLICE // 2:
                continue
            # The spread of all: a slice in which the model is always wrong has none of its own.
            error = spread * np.sqrt(1 / len(inside) + 1 / len(rest))
            difference = float(rest.mean() - inside.mean())
            level = LEVEL / len(worse)
            if (
                difference >= LEAST * spread
                and difference / error >= norm.isf(level)
                and _by_chance(inside, right[second], level, data.seed) <= level
            ):
                what = (
                    f"{_words(tree, int(leaf), names)}: {formats.number(inside.mean())} against "
                    f"{formats.number(rest.mean())} elsewhere ({formats.rows(len(inside))} of the "
                    "half it was confirmed on)"
                )
                issues.append(Issue(what, "held_out", difference / spread))
        if not issues:
            return Found("In no slice that a few conditions describe is the model clearly worse.")
        return Found(
            f"{formats.rows(len(issues), 'slice')} of trusted samples, found on one half and "
            f"confirmed on the other, in which the model is clearly worse.",
            sorted(issues, key=lambda issue: -issue.score),
        )


def _by_chance(
    inside: NDArray[np.float64], every: NDArray[np.float64], level: float, seed: int
) -> float:
    """Return the share of slices of this size, drawn at random, in which the model is as bad.

    Right or wrong is far from normal in a small slice: the z-test alone is passed too often.
    """
    generator, draws = np.random.default_rng(seed), int(10 / level)
    bound = inside.sum() + 1e-9
    as_bad = sum(
        generator.choice(every, len(inside), replace=False, shuffle=False).sum() <= bound
        for _ in range(draws)
    )
    return float((1 + as_bad) / (1 + draws))


def _table(columns: Columns) -> tuple[list[str], NDArray[np.float64]]:
    """Return the columns as numbers, and what each means; words as one column for each value."""
    names, parts = [*columns.numbers], [*map(for_trees, columns.numbers.values())]
    for name, words in columns.words.items():
        place, values = pd.factorize(words, sort=True)
        common = np.argsort(-np.bincount(place), kind="stable")[:MOST_VALUES]
        for value in values[common]:
            names.append(f"{name} = {value}")
            parts.append((words == value).astype(np.float64))
    return names, np.column_stack(parts) if parts else np.empty((len(columns.positions), 0))


def _words(tree: DecisionTreeRegressor, leaf: int, names: list[str]) -> str:
    """Return the conditions that lead to a leaf."""
    inner = tree.tree_
    parent = {
        int(child): (node, side)
        for node in range(inner.node_count)
        for side, child in (("<=", inner.children_left[node]), (">", inner.children_right[node]))
        if child >= 0
    }
    parts: list[str] = []
    while leaf in parent:
        leaf, side = parent[leaf]
        name, bound = names[inner.feature[leaf]], float(inner.threshold[leaf])
        if " = " in name:
            parts.append(name if side == ">" else name.replace(" = ", " is not ", 1))
        else:
            parts.append(f"{name} {side} {bound:.4g}")
    return " and ".join(reversed(parts))

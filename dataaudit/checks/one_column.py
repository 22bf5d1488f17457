"""What one column alone says of the label: fitted on some rows, measured on others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from dataaudit.checks.columns import Columns
from dataaudit.labels.values import ignored, unusable

MOST_LEAVES = 64
FEWEST_IN_LEAF = 5

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class OneColumn:
    """A prediction of the label by one column.

    Attributes
    ----------
    known : `[values]`, sorted, or None
        The values of a column of words; None of a column of numbers.
    said : `[values + 1]` or a fitted tree
        What is predicted for each of them, and for any other value.
    usual : int or float
        The commonest class, or the mean: what is predicted without the column.
    has_classes : bool
    """

    known: NDArray[Any] | None
    said: Any
    usual: float
    has_classes: bool

    @classmethod
    def fit(cls, values: NDArray[Any], target: NDArray[Any], *, has_classes: bool) -> OneColumn:
        """Learn the label by one column, `[rows]` numbers (NaN for none) or words."""
        usual = float(np.bincount(target).argmax()) if has_classes else float(target.mean())
        if values.dtype.kind == "f":
            leaf = max(FEWEST_IN_LEAF, len(values) // 500)
            maker = DecisionTreeClassifier if has_classes else DecisionTreeRegressor
            weight = None
            if has_classes:
                weight = 1 / np.bincount(target)[target]
            tree = maker(max_leaf_nodes=MOST_LEAVES, min_samples_leaf=leaf, random_state=0)
            tree.fit(for_trees(values)[:, None], target, sample_weight=weight)
            return cls(None, tree, usual, has_classes)
        place, known = pd.factorize(values, sort=True)
        if has_classes:
            counts = np.zeros((len(known), int(target.max()) + 1))
            np.add.at(counts, (place, target), 1)
            # Each class counts the same, however many rows it has.
            shares = counts / np.maximum(counts.sum(axis=0), 1)
            said = shares.argmax(axis=1).astype(np.float64)
        else:
            said = np.bincount(place, target) / np.bincount(place)
        return cls(known, np.append(said, usual), usual, has_classes)

    def gain(self, values: NDArray[Any], target: NDArray[Any]) -> tuple[FloatArray, float]:
        """Return by how much each prediction is better than the usual one, and the most possible.

        Of classes, right or wrong, weighted so that each class counts the same, less what one class
        for all rows would reach; of numbers, the squared error that is saved.

        Returns
        -------
        float64 `[rows]`, and the mean that a perfect column would have
        """
        if self.known is None:
            said = self.said.predict(for_trees(values)[:, None]).astype(np.float64)
        else:
            # A value that was not there is at -1, the last: the usual one is said of it.
            said = self.said[pd.Index(self.known).get_indexer(values)]
        if self.has_classes:
            classes, own, counts = np.unique(target, return_inverse=True, return_counts=True)
            by_chance = 1 / len(classes)
            weight = len(target) * by_chance / counts[own]
            return weight * (said == target) - by_chance, 1 - by_chance
        saved = (target - self.usual) ** 2
        return saved - (target - said) ** 2, float(saved.mean())

    def skill(self, values: NDArray[Any], target: NDArray[Any]) -> float:
        """Return the share of all errors that the column saves; 1 = it gives the label away."""
        gain, most = self.gain(values, target)
        return float(gain.mean() / most) if most > 0 else 0.0


def for_trees(values: FloatArray) -> FloatArray:
    """Return numbers as trees take them: no larger than single precision holds."""
    largest = float(np.finfo(np.float32).max)
    return np.clip(values, -largest, largest)


def judged(columns: Columns) -> NDArray[np.bool_]:
    """Tell which rows have a label that can be used, `[n]`."""
    return ~(unusable(columns.labels) | ignored(columns.labels))


def every_column(columns: Columns) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the name and the values of every column, numbers first."""
    yield from columns.numbers.items()
    yield from columns.words.items()

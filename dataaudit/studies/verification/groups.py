"""Which rows are left out together, and which queries are asked together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import ConfigError

Positions = NDArray[np.int64]


def random_groups(rows: int, groups: int, size: int, seed: int) -> list[Positions]:
    """Return disjoint random groups of `size` rows: each holds noise in the same expected share.

    Raises
    ------
    ConfigError
        There are not so many rows.
    """
    if groups * size > rows:
        raise ConfigError(
            f"groups: found {groups} groups of {size} rows, expected at most {rows} rows in all; "
            "ask for fewer or smaller groups"
        )
    order = np.random.default_rng(seed).permutation(rows)
    return [np.sort(order[start * size : (start + 1) * size]) for start in range(groups)]


def graded_groups(scores: NDArray[np.floating], groups: int, size: int) -> list[Positions]:
    """Return groups of rows that score alike, from the lowest to the highest scores.

    They are as far apart as groups can be, and mostly so by their share of wrong labels: a
    correlation over them is higher than over groups of the same share.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.linspace(0, len(scores) - size, groups).round().astype(np.int64)
    return [np.sort(order[start : start + size]) for start in starts]


def random_halves(rows: int, groups: int, seed: int) -> list[Positions]:
    """Return random halves of the rows, which overlap: those of the linear datamodeling score."""
    generator = np.random.default_rng(seed)
    return [np.sort(generator.permutation(rows)[: rows // 2]) for _ in range(groups)]


def query_groups(labels: NDArray[np.generic], groups: int) -> list[Positions]:
    """Return queries in groups of about the same size, each of one class or of few like labels."""
    order = np.argsort(labels, kind="stable")
    return [np.sort(part) for part in np.array_split(order, min(groups, len(labels)))]

"""Preferences: which of two answers is better.

The two are told apart by their place, which a hash of what they say decides and no file: the label
is one of two classes that are about even, and a pair whose answers were swapped has the other one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.errors import DataError
from dataaudit.labels.classes import CLASSES
from dataaudit.labels.kind import Kind, Labels, Names, Reading
from dataaudit.labels.values import UNUSABLE, named_row, such_rows

SIDES = ("left", "right")
BETTER = "better answer"
"""The column of labels, which no file has; of a pair that cannot be used it says why."""
PROMPT = "prompt"


@dataclass(frozen=True)
class PairColumns:
    """Which columns of a file hold its pairs.

    Attributes
    ----------
    chosen, rejected : str
    prompt : str or None
        None where there is none.
    """

    chosen: str
    rejected: str
    prompt: str | None


def pair_columns(kind: Kind, columns: Mapping[str, Any]) -> PairColumns | None:
    """Return the columns that the settings of a split name; None where labels are no preferences.

    Parameters
    ----------
    kind : Kind
    columns : mapping
        As `train` in audit.yaml has them.
    """
    if kind.form != "pair":
        return None
    return PairColumns(columns["chosen"], columns["rejected"], columns["prompt"])


def better_sides(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Return which side is better, as the index of it in `SIDES`.

    Parameters
    ----------
    values, ids, where, reading
        As for `Kind.read`. Pairs that cannot be used become `UNUSABLE` where that is tolerated.

    Returns
    -------
    int64 `[n]`, and the sides

    Raises
    ------
    DataError
        An answer is missing, empty, or no text, or both are the same.
    """
    labels = np.full(len(values), UNUSABLE, dtype=np.int64)
    for place, side in enumerate(SIDES):
        labels[(values == side).to_numpy(dtype=bool)] = place
    bad = np.flatnonzero(labels == UNUSABLE)
    if len(bad) and (not reading.tolerate or len(bad) == len(labels)):
        row = int(bad[0])
        raise DataError(
            f"{where.removesuffix(f': column {BETTER!r}')}: {named_row(row, ids)}: "
            f"{values.iloc[row]} ({such_rows(len(bad))}); expected two different texts in every "
            "row; with bad_rows.largest_share such rows are set aside"
        )
    return labels, list(SIDES)


def no_classes(classes: Names) -> None:
    """Refuse them."""
    raise ValueError("expected no classes for task preference")


PREFERENCES = replace(
    CLASSES, read=better_sides, reason=str, check_classes=no_classes, form="pair", refitted=False
)

"""Values that are missing, and columns that are the same in every row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.examined import Examined
from dataaudit.datasets.samples import Samples
from dataaudit.labels.values import unusable
from dataaudit.report import formats

ROWS_PER_READ = 4096
FEWEST = 0.001
"""A column that lacks a smaller share of its values is not reported."""


class Missing(Check):
    """Counts, for each column of each split, the rows without a value; and finds constant columns.

    Every row is read, in blocks. A cell without letters or digits is a value; an empty one is not.
    """

    name = "missing_values"
    title = "Missing and constant values"

    def look(self, data: Examined) -> Found:
        """Read all rows once."""
        issues: list[Issue] = []
        for samples in (data.train, *data.others.values()):
            issues += _issues(samples)
        if not issues:
            return Found("Every column has values, and not the same one in every row.")
        issues.sort(key=lambda issue: -issue.score)
        return Found(
            f"{formats.rows(len(issues), 'column')} {'lacks' if len(issues) == 1 else 'lack'} "
            "values or always "
            f"{'has' if len(issues) == 1 else 'have'} the same one. A model can learn from which "
            "values are missing, and nothing from a constant.",
            issues,
        )


def _issues(samples: Samples) -> Iterator[Issue]:
    absent: dict[str, int] = {}
    first: dict[str, Any] = {}
    varies: set[str] = set()
    for frame in samples.source.frames(ROWS_PER_READ):
        # Labels, ids and groups are looked at where they are read.
        for column in [name for name in frame.columns if name not in samples.special_columns()]:
            name, values = str(column), frame[column]
            gone = values.isna()
            if not pd.api.types.is_numeric_dtype(values):
                gone |= values.map(_is_blank).astype(bool)
            absent[name] = absent.get(name, 0) + int(gone.sum())
            known = values[~gone]
            if len(known) == 0 or name in varies:
                continue
            one = first.setdefault(name, known.iloc[0])
            if not _all_alike(known, one):
                varies.add(name)
    rows = len(samples)
    for name, count in absent.items():
        if count >= max(1, FEWEST * rows):
            share = formats.percent(count / rows)
            what = f"{share} of the rows have no value ({formats.count(count)})"
            yield Issue(what, samples.role, count / rows, column=name)
        elif name not in varies and rows > 1:
            yield Issue("every row has the same value", samples.role, 1.0, column=name)
    bad = int(unusable(samples.labels).sum()) if samples.labelled else 0
    if bad:
        what = f"{formats.percent(bad / rows)} of the rows have no usable label"
        yield Issue(what, samples.role, bad / rows, column=samples.label_column)


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _all_alike(values: pd.Series, one: Any) -> bool:
    if isinstance(one, str | bytes | bool | int | float | np.generic):
        return bool((values == one).all())
    return all(repr(value) == repr(one) for value in values)

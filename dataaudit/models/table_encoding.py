"""Mixed tables as numbers, for the network that stands in for an estimator without gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

MOST_CATEGORIES = 50
"""Of each column; rarer ones are taken together."""
_MISSING = "(missing)"


@dataclass(frozen=True)
class TableEncoding:
    """Numbers as they are, gaps as the mean and a mark, categories as one column each.

    The estimator itself is always asked with the table as it is; only its stand-in sees this.

    Attributes
    ----------
    numbers, categories : list
        Columns of each kind, as the training rows have them.
    imputer, one_hot
        Fitted on training rows; None where there is no column of that kind.
    """

    numbers: list[Any]
    categories: list[Any]
    imputer: SimpleImputer | None
    one_hot: OneHotEncoder | None

    @classmethod
    def fit(cls, values: Any) -> TableEncoding:
        """Learn the encoding from what the estimator is given: a frame or an array of rows."""
        frame = pd.DataFrame(values)
        numbers = [name for name in frame.columns if _is_number(frame[name])]
        categories = [name for name in frame.columns if name not in numbers]
        imputer = one_hot = None
        if numbers:
            imputer = SimpleImputer(add_indicator=True, keep_empty_features=True)
            imputer.fit(_as_numbers(frame, numbers))
        if categories:
            one_hot = OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                max_categories=MOST_CATEGORIES,
                sparse_output=False,
            )
            one_hot.fit(_as_text(frame, categories))
        return cls(numbers, categories, imputer, one_hot)

    def __call__(self, values: Any) -> NDArray[np.float64]:
        """Return the rows as finite numbers, float64 `[rows, width]`."""
        frame = pd.DataFrame(values)
        parts = []
        if self.imputer is not None:
            parts.append(self.imputer.transform(_as_numbers(frame, self.numbers)))
        if self.one_hot is not None:
            parts.append(self.one_hot.transform(_as_text(frame, self.categories)))
        return np.hstack(parts)


def _is_number(column: pd.Series) -> bool:
    if column.dtype == object:
        # NumPy arrays of mixed columns are objects throughout.
        known = column.dropna()
        return bool(len(known)) and bool(pd.to_numeric(known, errors="coerce").notna().all())
    return bool(pd.api.types.is_numeric_dtype(column))


def _as_numbers(frame: pd.DataFrame, names: list[Any]) -> NDArray[np.float64]:
    columns = [pd.to_numeric(frame[name], errors="coerce") for name in names]
    values = np.column_stack([column.to_numpy(np.float64, na_value=np.nan) for column in columns])
    return np.where(np.isfinite(values), values, np.nan)


def _as_text(frame: pd.DataFrame, names: list[Any]) -> NDArray[Any]:
    columns = [
        frame[name].astype(object).where(frame[name].notna(), _MISSING).astype(str).to_numpy(object)
        for name in names
    ]
    return np.column_stack(columns)

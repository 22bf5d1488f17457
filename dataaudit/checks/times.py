"""Columns of times as numbers, with the order of day and month decided for all columns together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.checks.columns import ROWS_PER_READ
from dataaudit.datasets.samples import Role, Samples
from dataaudit.errors import DataError

Order = Literal["day", "month"]

_NUMBERED = r"^\s*(\d{1,2})([/.\-])(\d{1,2})\2\d{2,4}(?!\d)"
"""A date of which two numbers may be the month, such as 01/02/2020."""


@dataclass(frozen=True)
class Times:
    """The columns of times of several splits.

    Attributes
    ----------
    columns : mapping of role to Series
        As the files have them.
    where : mapping of role to str
        File and column, for errors.
    """

    columns: Mapping[Role, pd.Series]
    where: Mapping[Role, str]

    @classmethod
    def read(cls, samples: Mapping[Role, Samples], names: Mapping[Role, str]) -> Times:
        """Read a column of each split.

        Raises
        ------
        DataError
            There is no such column, or some hold dates and others numbers.
        """
        columns, where = {}, {}
        for role, rows in samples.items():
            parts = []
            for frame in rows.source.frames(ROWS_PER_READ):
                if names[role] not in frame.columns:
                    raise DataError(f"{rows.source.description}: no time column {names[role]!r}")
                parts.append(frame[names[role]])
            columns[role] = pd.concat(parts)
            where[role] = f"{rows.source.description}: column {names[role]!r}"
        numbers = {role: pd.api.types.is_numeric_dtype(found) for role, found in columns.items()}
        if len(set(numbers.values())) > 1:
            one = next(role for role, is_number in numbers.items() if is_number)
            other = next(role for role, is_number in numbers.items() if not is_number)
            raise DataError(
                f"{where[one]} holds numbers, and {where[other]} does not; expected times of one "
                "kind, which can be compared"
            )
        return cls(columns, where)

    def first(self) -> tuple[Order | None, str | None]:
        """Return what stands first in dates such as 01/02/2020, and one of them.

        The order is None where no value decides it, the date None where there is none.

        Raises
        ------
        DataError
            Some dates have the day first, others the month.
        """
        found: dict[Order, str] = {}
        undecided, dotted = None, True
        for column in self.columns.values():
            if pd.api.types.is_numeric_dtype(column.dtype):
                continue
            texts = column.dropna().astype(str)
            parts = texts.str.extract(_NUMBERED).dropna()
            one, other = parts[0].astype(int), parts[2].astype(int)
            decisions: list[tuple[Order, pd.Series]] = [("day", one > 12), ("month", other > 12)]
            for order, decided in decisions:
                if decided.any():
                    found.setdefault(order, str(texts.loc[parts.index].to_numpy()[decided][0]))
            differ = (one != other).to_numpy()
            if differ.any():
                undecided = undecided or str(texts.loc[parts.index].to_numpy()[differ][0])
                dotted = dotted and bool((parts[1] == ".").all())
        if len(found) == 2:
            raise DataError(
                f"{', '.join(self.where.values())}: the day stands first in {found['day']!r}, the "
                f"month in {found['month']!r}; expected one order in all columns of times"
            )
        if found:
            return next(iter(found.items()))
        # With dots the day is always written first.
        return ("day" if undecided and dotted else None), undecided

    def numbers(self, order: Order) -> dict[Role, NDArray[np.float64]]:
        """Return the times of each split as numbers (of dates, seconds), `[rows]`; NaN for none.

        Raises
        ------
        DataError
            A column holds no times.
        """
        found = {role: _numbers(column, order) for role, column in self.columns.items()}
        for role, times in found.items():
            if np.isnan(times).all():
                raise DataError(f"{self.where[role]} holds neither dates nor numbers")
        return found


def _numbers(column: pd.Series, order: Order) -> NDArray[np.float64]:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return np.asarray(column.to_numpy(np.float64, na_value=np.nan))
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        dates = pd.to_datetime(column, utc=True).reset_index(drop=True)
    else:
        values = column.reset_index(drop=True)
        dates = _dates(values, day_first=False)
        numbered = values.astype(str).str.match(_NUMBERED).to_numpy(bool)
        if order == "day" and numbered.any():
            dates[numbered] = _dates(values[numbered], day_first=True)
    zero = pd.Timestamp(0, tz="UTC")
    return np.asarray(((dates - zero) / pd.Timedelta(seconds=1)).to_numpy(np.float64))


def _dates(values: pd.Series, *, day_first: bool) -> pd.Series:
    return pd.to_datetime(values, errors="coerce", utc=True, format="mixed", dayfirst=day_first)

"""Training rows that are later than evaluation rows: the model has seen the future."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.columns import ROWS_PER_READ
from dataaudit.checks.examined import Examined
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError
from dataaudit.report import formats


class Later(Check):
    """Compares the column of times (`time:`) of training rows with that of the other splits."""

    name = "later_rows"
    title = "Training rows later than evaluation rows"
    needs = frozenset({"time"})
    serious = True

    def look(self, data: Examined) -> Found:
        """Read the columns of times."""
        own = _times(data.train, data.times["train"])
        others = {role: _times(data.others[role], data.times[role]) for role in data.others}
        role, start = min(
            ((role, float(np.nanmin(times))) for role, times in others.items()),
            key=lambda item: item[1],
        )
        late = np.flatnonzero(own >= start)
        if len(late) == 0:
            return Found("Every training row is earlier than every evaluation row.")
        order = late[np.argsort(-own[late], kind="stable")]
        issues = [
            Issue(
                f"as late as the earliest row of {role}, or later",
                "train",
                float(own[row] - start),
                row_id=data.train.ids[row].item()
                if hasattr(data.train.ids[row], "item")
                else data.train.ids[row],
            )
            for row in order
        ]
        return Found(
            f"{formats.rows(len(late), 'training row')} of {formats.count(len(own))} "
            f"{'is' if len(late) == 1 else 'are'} as late as the earliest evaluation row, or "
            "later. In use, the model will not know what comes after; split by time.",
            issues,
        )


def _times(samples: Samples, column: str) -> NDArray[np.float64]:
    """Return the times as numbers (of dates, seconds), `[rows]`; NaN for none.

    Raises
    ------
    DataError
        There is no such column, or it holds no times.
    """
    where = samples.source.description
    parts = []
    for frame in samples.source.frames(ROWS_PER_READ):
        if column not in frame.columns:
            raise DataError(f"{where}: no time column {column!r}")
        parts.append(frame[column])
    values = pd.concat(parts)
    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = values.to_numpy(np.float64, na_value=np.nan)
    else:
        dates = pd.to_datetime(values, errors="coerce", utc=True, format="mixed")
        zero = pd.Timestamp(0, tz="UTC")
        numbers = ((dates - zero) / pd.Timedelta(seconds=1)).to_numpy(np.float64)
    if np.isnan(numbers).all():
        raise DataError(f"{where}: column {column!r} holds neither dates nor numbers")
    return np.asarray(numbers)

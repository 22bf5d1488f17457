"""What the report asks of all rows: in blocks, so that no copy of a table is held for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.report.data import Histogram

ROWS_AT_ONCE = 2**18
BINS = 40


def first_rows(table: pd.DataFrame, most: int, most_kept: int) -> pd.DataFrame:
    """Return the flagged rows, by rank, then those that come next without being flagged.

    Parameters
    ----------
    table : pandas.DataFrame
        `MislabelFlags.table`, whose ranks are 1 to the number of rows.
    most : int
        Of all rows.
    most_kept : int
        Of those that are not flagged; rows without a probability are none of them.
    """
    flagged = table["flagged"].to_numpy(dtype=bool)
    probability, rank = table["probability"].to_numpy(dtype=float), table["rank"].to_numpy()
    count = int(flagged.sum())
    room = min(most_kept, most - min(count, most))
    unknown = sum(int(np.isnan(probability[block]).sum()) for block in _blocks(len(table)))
    # Of so many rows at least `room` are neither flagged nor without a probability.
    enough = count + unknown + room
    chosen = []
    for wanted, limit in ((True, most), (False, room)):
        found = [
            block.start + np.flatnonzero(_among(flagged, probability, rank, block, wanted, enough))
            for block in _blocks(len(table))
        ]
        positions = np.concatenate([np.zeros(0, dtype=np.int64), *found])
        chosen.append(positions[np.argsort(rank[positions], kind="stable")][:limit])
    return table.iloc[np.concatenate(chosen)]


def _among(
    flagged: NDArray[np.bool_],
    probability: NDArray[np.float64],
    rank: NDArray[np.int64],
    block: slice,
    wanted: bool,
    enough: int,
) -> NDArray[np.bool_]:
    if wanted:
        return flagged[block]
    return ~flagged[block] & ~np.isnan(probability[block]) & (rank[block] <= enough)


def shares_below(values: NDArray[np.float64], asked: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of all finite or infinite `values` that lie below each value asked for.

    NaN counts nowhere; asked for, it gives NaN.
    """
    below, known = np.zeros(len(asked), dtype=np.int64), 0
    for block in _blocks(len(values)):
        part = values[block]
        part = np.sort(part[~np.isnan(part)])
        known += len(part)
        below += np.searchsorted(part, asked, side="left")
    return np.where(np.isnan(asked), np.nan, below / max(known, 1))


def histogram(
    name: str, values: NDArray[np.float64], flagged: NDArray[np.bool_], threshold: float | None
) -> Histogram | None:
    """Return the histogram of finite values between their 0.1 and 99.9 percentiles."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = 0.0, 1.0
    if name != "probability":
        low, high = np.percentile(finite, [0.1, 99.9], overwrite_input=True)
    del finite
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    counts = np.zeros((2, BINS), dtype=np.int64)
    for block in _blocks(len(values)):
        part, among = values[block], flagged[block]
        inside, usable = np.clip(part, low, high), np.isfinite(part)
        for line, chosen in enumerate((usable & ~among, usable & among)):
            counts[line] += np.histogram(inside[chosen], edges)[0]
    return Histogram(
        name=name,
        edges=edges.tolist(),
        kept=counts[0].tolist(),
        flagged=counts[1].tolist(),
        threshold=threshold,
    )


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, rows))

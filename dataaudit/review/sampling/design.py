"""Which rows a reviewer is asked about, so that the answers speak for all rows.

Rows are drawn at random inside strata of neighbouring ranks. Flagged rows get most of the draw:
their precision is what the next step hangs on. How many rows each stratum holds and gave is kept,
so that the estimate rests on the draw alone, whatever the model did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MOST_FOR_PRECISION = 45
"""Of a small draw, flagged rows get up to so many: at this number the mean error of a precision
of one half, the hardest to estimate, is .06."""
LARGEST_SHARE_FLAGGED = 0.75
ROWS_TO_SPLIT = 30
"""A stratum that is asked for so many rows is split by rank, which narrows the interval."""
PARTS = 3


@dataclass(frozen=True)
class Stratum:
    """Rows of neighbouring ranks, of which some were drawn.

    Attributes
    ----------
    flagged : bool
        Whether its rows are flagged.
    first_rank, last_rank : int
    rows : int
        How many rows it holds.
    drawn : tuple of int
        Positions, in the training data, of the rows drawn from it.
    """

    flagged: bool
    first_rank: int
    last_rank: int
    rows: int
    drawn: tuple[int, ...]


def draw(mislabels: pd.DataFrame, rows: int, seed: int) -> list[Stratum]:
    """Draw rows to review, each stratum without replacement.

    Parameters
    ----------
    mislabels : pandas.DataFrame
        As `mislabels.parquet`. Rows that were set aside (no probability) are not drawn.
    rows : int
        How many; all where there are fewer.
    seed : int
        Of the draw.
    """
    judged = mislabels["probability"].notna().to_numpy()
    order = np.argsort(mislabels["rank"].to_numpy(), kind="stable")
    order = order[judged[order]]
    flagged = mislabels["flagged"].to_numpy(dtype=bool)
    above, below = order[flagged[order]], order[~flagged[order]]
    count = min(rows, len(order))
    for_flagged = max(count // 2, min(MOST_FOR_PRECISION, int(LARGEST_SHARE_FLAGGED * count)))
    for_flagged = max(min(for_flagged, len(above)), count - len(below))
    generator = np.random.default_rng(seed)
    ranks = mislabels["rank"].to_numpy()
    return [
        _stratum(part, ranks, is_flagged, number, generator)
        for is_flagged, group, number in (
            (True, above, for_flagged),
            (False, below, count - for_flagged),
        )
        for part, number in _split(group, number)
    ]


def _split(group: NDArray[np.int64], count: int) -> list[tuple[NDArray[np.int64], int]]:
    if len(group) == 0:
        return []
    if count < ROWS_TO_SPLIT or count == len(group):
        return [(group, count)]
    parts = np.array_split(group, PARTS)
    shares = np.diff(np.round(np.linspace(0, count, PARTS + 1)).astype(int))
    # Rounding may ask a part for a row more than it has.
    return [(part, min(int(share), len(part))) for part, share in zip(parts, shares, strict=True)]


def _stratum(
    part: NDArray[np.int64],
    ranks: NDArray[Any],
    flagged: bool,
    count: int,
    generator: np.random.Generator,
) -> Stratum:
    drawn = generator.choice(part, size=count, replace=False)
    of_part = ranks[part]
    return Stratum(
        flagged, int(of_part.min()), int(of_part.max()), len(part), tuple(int(p) for p in drawn)
    )


def positions(strata: Sequence[Stratum]) -> NDArray[np.int64]:
    """Return the positions of all rows drawn, ascending."""
    return np.sort(np.array([place for item in strata for place in item.drawn], dtype=np.int64))

"""How many of the flagged rows are wrong: the share that is claimed, and how sure that is.

The claim is the mean of the flagged rows' probabilities. Redraws say how far it is off because
trusted samples are few; and of a handful of rows any share may be wrong, however right the
probabilities are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from dataaudit.flags.parts import CONFIDENCE
from dataaudit.flags.probabilities import Values
from dataaudit.flags.results import Interval

BEYOND = 0.5
"""Share of what lies above the highest redraw that is added: where people give what a row looks
like, wrong labels look right and hide each other, and more of the flagged rows are wrong than any
redraw says (docs/measurements/calibration.md)."""


def precision_of(probability: Values, redrawn: Values) -> Interval | None:
    """Return the share of the flagged rows whose label is wrong; None where none is flagged.

    Parameters
    ----------
    probability : `[flagged]`
        That each label is wrong.
    redrawn : `[redraws]`
        The mean of these probabilities after each redraw; without any, nothing excludes any share.
    """
    count = len(probability)
    if not count:
        return None
    claimed = float(probability.mean())
    if not len(redrawn):
        return Interval(claimed, 0.0, 1.0)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.append(redrawn, claimed), [tail, 1 - tail])
    high += BEYOND * (1 - high)
    # Whole rows are wrong or right: of two with a probability of .6 each, none may be, or both.
    low, high = binom.ppf(tail, count, low) / count, binom.ppf(1 - tail, count, high) / count
    return Interval(claimed, float(min(low, claimed)), float(max(high, claimed)))


def within(known: Interval | None, flagged: int, rate: Interval, rows: int) -> Interval | None:
    """Return what is known of the flagged rows, of which no more are wrong than of all rows may be.

    Parameters
    ----------
    known : Interval or None
        The share of the flagged rows whose label is wrong; None where none is flagged.
    flagged : int
    rate : Interval
        The share of all rows.
    rows : int
    """
    if known is None:
        return None
    most = rate.high * rows / max(flagged, 1)
    return Interval(known.estimate, known.low, max(min(known.high, most), known.estimate))


def carried_over(
    known: Interval | None,
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    probability: Values,
) -> Interval | None:
    """Return what is still known once other rows are flagged; None where none is flagged.

    Parameters
    ----------
    known : Interval or None
        Of the rows that were flagged before.
    before, after : bool `[rows]`
        Which rows are flagged; of those that were not before, any share may be wrong.
    probability : `[rows]`
        That each label is wrong, as it is claimed now.
    """
    count = int(after.sum())
    if not count:
        return None
    kept, left = int((before & after).sum()), int((before & ~after).sum())
    ends = (0.0, 0.0) if known is None else (known.low, known.high)
    least, most = (end * (kept + left) for end in ends)
    claimed = float(probability[after].mean())
    low, high = max(0.0, least - left) / count, (min(kept, most) + count - kept) / count
    return Interval(claimed, min(low, claimed), max(high, claimed))

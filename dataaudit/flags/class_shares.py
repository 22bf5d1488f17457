"""Are the rows of the same classes as the trusted samples, once wrong labels are put right?

Labels that are missed by every model, such as names that somebody took for ordinary words, leave a
trace: the class that they should have is rarer among the rows than among trusted samples.
"""

from __future__ import annotations

import numpy as np

from dataaudit.flags.probabilities import Labels, Values

LEVEL = 0.01
LEAST = 0.02
"""Share of the rows that must be of other classes: in large sets trifles are significant."""
EVEN, EVEN_BY = 0.05, 2
"""Trusted samples whose classes differ by this share, or by so few, were chosen class by class."""
DRAWS = 2000
USUAL = 0.5
"""Share of the trusted samples from which on a class is what others are taken for unnoticed."""
NEARLY_ALL = 0.8
LEAST_WRONG = 0.005
"""Share of the rows: of hardly any wrong label nothing is said."""


def unaccounted_class(
    expected: Values, trusted: Labels, accounted: float, seed: int = 0
) -> tuple[int, float, float] | None:
    """Return the class that is most off, with its share of trusted samples and of rows.

    Rows and trusted samples that were drawn alike differ by chance alone. How far chance goes is
    found by dealing out both together anew, sizes and classes as they are (an exact test). Trusted
    samples of which each class has as many were chosen so, and say nothing of how frequent it is.

    Parameters
    ----------
    expected : float64 `[C]`
        Rows expected to be of each class.
    trusted : int64 `[trusted]`
        Right classes.
    accounted : float
        Share of wrong labels beyond the expected ones that is stated to be possible: what these
        explain is no surprise.
    seed : int

    Returns
    -------
    class, share among trusted samples, share among rows; None where nothing is off
    """
    rows, known = np.rint(expected).astype(np.int64), np.bincount(trusted, minlength=len(expected))
    held = known[known > 0]
    if len(held) > 1 and np.ptp(held) <= max(EVEN * held.mean(), EVEN_BY):
        return None
    of_trusted, of_rows = known / known.sum(), rows / rows.sum()
    off = np.abs(of_trusted - of_rows)
    if off.sum() / 2 <= max(LEAST, accounted):
        return None
    there = np.flatnonzero(rows + known)
    both = (rows + known)[there]
    usual = both * (known.sum() / both.sum())

    def distances(counts: Values) -> Values:
        return np.asarray(((counts - usual) ** 2 / (usual * (1 - usual / both))).sum(axis=-1))

    drawn = np.random.default_rng(seed).multivariate_hypergeometric(both, known.sum(), size=DRAWS)
    # Equal draws must count as such whatever rounding does.
    least = distances(known[there].astype(np.float64)) * (1 - 1e-9)
    as_far = int((distances(drawn.astype(np.float64)) >= least).sum())
    if (1 + as_far) / (1 + DRAWS) >= LEVEL:
        return None
    worst = int(off.argmax())
    return worst, float(of_trusted[worst]), float(of_rows[worst])


def taken_for_usual(noise_table: Values, trusted: Labels) -> int | None:
    """Return the class that most samples are of, where nearly all wrong labels found give it.

    Something rare is missed, such as a name that is taken for an ordinary word: most often where
    it looks like the usual. A model sees least of it there, too, so that more are missed than what
    is seen tells. Of two classes this is not asked, where half of all errors are such.

    Parameters
    ----------
    noise_table : float64 `[C, C]`
        Rows expected, by given class and by right one.
    trusted : int64 `[trusted]`
        Right classes.
    """
    shares = np.bincount(trusted, minlength=len(noise_table)) / len(trusted)
    usual = int(shares.argmax())
    wrong = noise_table.sum(axis=1) - np.diag(noise_table)
    if len(noise_table) == 2 or shares[usual] < USUAL:
        return None
    found, rows = wrong.sum(), noise_table.sum()
    if found < max(1.0, LEAST_WRONG * rows) or wrong[usual] < NEARLY_ALL * found:
        return None
    return usual

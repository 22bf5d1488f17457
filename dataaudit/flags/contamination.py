"""Contamination flags: which suspects leak from the training rows, at a false discovery rate.

Arrays in, table out. Evidence comes in two kinds, both [suspects, matches]: `content` (how alike
the pair is) and `influence` (how much more the row reacts to this suspect than to clean
suspects). Larger always means more suspicious.

Identity is a fact and always counts; what is only alike is tested against how alike clean samples
are (`dataaudit.flags.null_distribution`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from dataaudit.flags.null_distribution import (
    BoolArray,
    FloatArray,
    Null,
    benjamini_hochberg,
    p_values,
)

CONTENT_WEIGHT = 0.9
"""Share of the error budget spent on content where influence is tested as well."""


@dataclass(frozen=True)
class ExactCopies:
    """Which items are identical to a training row, and how often training rows are to another.

    `pairs` [suspects, matches] is true where a suspect is identical to that training row;
    `repeated` of all `rows` training rows are identical to another one.
    """

    pairs: BoolArray
    repeated: int
    rows: int

    @property
    def suspects(self) -> BoolArray:
        """`[suspects]`, true where the best match is identical."""
        return self.pairs[:, 0] if self.pairs.shape[1] else np.zeros(len(self.pairs), bool)

    @property
    def by_chance(self) -> str:
        """That suspects are no more often identical than training rows are; empty where they are.

        At 5 %, by the binomial distribution.
        """
        found, count = int(self.suspects.sum()), len(self.suspects)
        if not found or binom.sf(found - 1, count, self.chance) <= 0.05:
            return ""
        return (
            f"about {count * self.chance:.0f} of {count} suspects would be identical to a training "
            f"row by chance, as {self.repeated} of {self.rows} training rows are to another one: "
            f"the {found} that are may be repeats by nature"
        )

    @property
    def chance(self) -> float:
        """The probability that a clean suspect is identical to a row, as training rows repeat."""
        return (1.0 + self.repeated) / (self.rows + 1.0)


def influence_scores(changes: ArrayLike, background: ArrayLike) -> FloatArray:
    """Return how unusual each row's reaction to its suspect is, in robust standard deviations.

    Parameters
    ----------
    changes : `[suspects, matches]`
        Loss change of the matched row, nats, when the suspect was unlearned; positive: the row's
        loss rose, it shared what was unlearned.
    background : `[suspects, matches, clean queries]`
        The same row's change when a clean query was unlearned instead.
    """
    before = np.asarray(background, np.float64)
    centre = np.median(before, axis=-1)
    spread = 1.4826 * np.median(np.abs(before - centre[..., None]), axis=-1)
    floor = 0.05 * np.median(spread) + 1e-12
    return np.asarray((np.asarray(changes, np.float64) - centre) / (spread + floor))


@dataclass(frozen=True)
class PairDecisions:
    """The decisions, and what they rest on.

    `table`, one line for each suspect and match, best first: query_id, row_id, rank (from 1),
    score, p_value, flagged, identical, content, influence, content_p_value, influence_p_value,
    evidence ("content", "influence", "both", "none"). p_value and flagged belong to the suspect
    and its best match; lower matches carry their own p-value, and are flagged if the suspect is
    and they are identical to it, or their own p-value is no larger than the largest flagged one.
    p_value is NaN where it could not be told how alike clean samples are. A suspect without a
    match has one line with the row_id None.

    `similar_judged` says whether suspects that are only alike to a row were judged.
    """

    table: pd.DataFrame
    level: float
    similar_judged: bool
    notes: list[str]

    @property
    def flagged_queries(self) -> list[object]:
        """Ids of the flagged suspects."""
        first = self.table[(self.table["rank"] == 1) & self.table["flagged"]]
        return list(first["query_id"])


def flag_contamination(
    query_ids: Sequence[object],
    row_ids: ArrayLike,
    matches: ArrayLike,
    content: ArrayLike,
    null: Null | str,
    influence: ArrayLike | None = None,
    influence_null: Null | None = None,
    exact: ExactCopies | None = None,
    level: float = 0.10,
) -> PairDecisions:
    """Decide which suspects leak from the training rows.

    A suspect that is identical to a row is flagged: that is a fact, whatever training rows repeat
    of each other. Those that are only alike are tested, by themselves.

    Parameters
    ----------
    query_ids : `[suspects]`
    row_ids : `[rows]`
    matches : `[suspects, matches]`
        Positions of rows, best first, -1 for none.
    content : `[suspects, matches]`
        Larger is more alike, -inf for none.
    null : Null or str
        How alike clean suspects are that are not identical to a row; or why that cannot be told,
        then suspects that are only alike are not judged.
    influence : `[suspects, matches]` or None
        From `influence_scores`.
    influence_null : Null or None
        The same for clean suspects.
    exact : ExactCopies or None
        Which pairs are identical; None where none is known to be.
    level : float
        The false discovery rate allowed among flagged suspects that are not identical to a row.

    Raises
    ------
    ValueError
        Shapes disagree, or `influence` comes without its null.
    """
    rows, alike = np.asarray(matches, np.int64), np.asarray(content, np.float64)
    names = np.asarray(row_ids)
    if rows.shape != alike.shape or rows.ndim != 2 or len(rows) != len(query_ids):
        raise ValueError(
            f"expected matches and content of shape [{len(query_ids)}, matches], found "
            f"{rows.shape} and {alike.shape}"
        )
    if (influence is None) != (influence_null is None):
        raise ValueError("influence needs influence_null, and the reverse")
    if exact is None:
        exact = ExactCopies(np.zeros(rows.shape, bool), 0, len(names))
    judged = isinstance(null, Null)
    content_p = p_values(null, alike) if isinstance(null, Null) else np.full(alike.shape, np.nan)
    content_p[exact.pairs] = exact.chance
    influence_p, reaction = np.full(alike.shape, np.nan), np.full(alike.shape, np.nan)
    p = content_p
    if influence is not None and influence_null is not None:
        reaction = np.asarray(influence, np.float64)
        influence_p = p_values(influence_null, reaction)
        p = np.where(exact.pairs, content_p, combined_p_values(content_p, influence_p))
        # Not looked for is not the same as not seen.
        influence_p[np.isnan(reaction)] = np.nan
    flagged = exact.pairs.copy()
    if judged:
        flagged |= _flag_matches(p, exact.suspects, level)
    present = shown_pairs(rows)
    suspect, place = np.nonzero(present)
    row = rows[present]
    found = np.full(len(row), None, object)
    found[row >= 0] = names[row[row >= 0]].tolist()
    table = pd.DataFrame(
        {
            "query_id": np.asarray(query_ids, object)[suspect],
            "row_id": found,
            "rank": place + 1,
            "score": np.where(row >= 0, alike[present], np.nan),
            "p_value": p[present],
            "flagged": flagged[present],
            "identical": exact.pairs[present],
            "content": alike[present],
            "influence": reaction[present],
            "content_p_value": content_p[present],
            "influence_p_value": influence_p[present],
            "evidence": _evidence(content_p, influence_p, flagged)[present],
        }
    )
    notes = [null] if isinstance(null, str) else _resolution_notes(null, level, len(rows))
    return PairDecisions(table, level, judged, [*_exact_notes(exact), *notes])


def shown_pairs(matches: ArrayLike) -> BoolArray:
    """Tell which `[suspects, matches]` have a line: a suspect without a match has one, too."""
    present = np.asarray(matches) >= 0
    if present.shape[1]:
        present[:, 0] = True
    return present


def combined_p_values(content_p: FloatArray, influence_p: FloatArray) -> FloatArray:
    """Weighted Bonferroni: valid however the two depend on each other."""
    weighted = np.minimum(content_p / CONTENT_WEIGHT, influence_p / (1 - CONTENT_WEIGHT))
    return np.asarray(np.minimum(weighted, 1.0))


def _flag_matches(p: FloatArray, exact: BoolArray, level: float) -> BoolArray:
    """Decide on the best match of each suspect; let lower ones follow if they are as unlikely.

    Suspects that are identical to a row are left out: a fact needs no test, and would let others
    pass that are only alike.
    """
    if p.size == 0:
        return np.zeros(p.shape, bool)
    first = np.zeros(len(p), bool)
    first[~exact] = benjamini_hochberg(p[~exact, 0], level)
    cut = p[first, 0].max() if first.any() else -1.0
    return (first | exact)[:, None] & (p <= cut)


def _exact_notes(exact: ExactCopies) -> list[str]:
    found = int(exact.suspects.sum())
    if not found:
        return []
    return [
        f"{found} of {len(exact.suspects)} suspects are identical to a training row, and so are "
        f"{exact.repeated} of {exact.rows} training rows to another one"
    ]


def _resolution_notes(null: Null, level: float, suspects: int) -> list[str]:
    if null.resolution <= level / max(suspects, 1):
        return []
    return [
        f"{len(null.calibration)} calibration samples resolve p-values down to "
        f"{null.resolution:.1e}; smaller ones come from a fitted tail"
    ]


def _evidence(
    content_p: FloatArray, influence_p: FloatArray, flagged: BoolArray
) -> NDArray[np.object_]:
    """Name the evidence that is unlikely (below 1 %) for a clean pair."""
    alike, learned = content_p < 0.01, influence_p < 0.01
    names = np.full(content_p.shape, "none", object)
    names[alike | flagged] = "content"
    names[learned & ~alike] = "influence"
    names[learned & alike] = "both"
    return names

"""Contamination flags: which suspects leak from the training rows, at a false discovery rate.

Arrays in, table out. Evidence comes in two kinds, both [suspects, matches]: `content` (how alike
the pair is) and `influence` (how much more the row reacts to this suspect than to clean
suspects). Larger always means more suspicious.

Rows that are identical to another are counted and judged apart from those that are nearly so
(`dataaudit.flags.null_distribution`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dataaudit.flags.null_distribution import (
    EXCEEDANCES_NEEDED,
    FURTHEST_EXTRAPOLATION,
    BoolArray,
    FloatArray,
    Null,
    benjamini_hochberg,
    choose_null,
    fit_null,
    p_values,
)

CONTENT_WEIGHT = 0.9
"""Share of the error budget spent on content where influence is tested as well."""


@dataclass(frozen=True)
class ExactCopies:
    """Which items are identical to a training row, and how often training rows are to another.

    `suspects` [suspects] and `calibration` [calibration suspects] are true where one is identical
    to a training row; `repeated` of all `rows` training rows are identical to another one.
    """

    suspects: BoolArray
    calibration: BoolArray
    repeated: int
    rows: int


def exact_p_values(null: Null, scores: ArrayLike, exact: ExactCopies) -> FloatArray:
    """Return the probability that a clean suspect is identical to a row, for those that are.

    Counted over all training rows where at least ten are identical to another; where fewer are,
    the fitted tail of the other scores may say less, since a count of so few says little.

    Parameters
    ----------
    null : Null
        Of suspects that are not identical to a row.
    scores : `[identical suspects]`
    exact : ExactCopies
    """
    counted = (1.0 + exact.repeated) / (exact.rows + 1.0)
    values = np.asarray(scores, np.float64)
    if exact.repeated >= EXCEEDANCES_NEEDED:
        return np.full(values.shape, counted)
    lowest = FURTHEST_EXTRAPOLATION / (exact.rows + 1.0)
    return np.asarray(np.clip(null.tail.share_above(values), lowest, counted))


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
    score, p_value, flagged, content, influence, content_p_value, influence_p_value, evidence
    ("content", "influence", "both", "none"). p_value and flagged belong to the suspect and its
    best match; lower matches carry their own p-value, and are flagged if the suspect is and
    their own p-value is no larger than the largest flagged one.
    """

    table: pd.DataFrame
    level: float
    content_null: Null
    calibration_notes: list[str]

    @property
    def flagged_queries(self) -> list[object]:
        """Ids of the flagged suspects."""
        first = self.table[(self.table["rank"] == 1) & self.table["flagged"]]
        return list(first["query_id"])

    @property
    def notes(self) -> list[str]:
        """What a reader must know before relying on the flags."""
        null, suspects = self.content_null, int((self.table["rank"] == 1).sum())
        notes = [*self.calibration_notes]
        if null.resolution > self.level / max(suspects, 1):
            notes.append(
                f"{len(null.calibration)} calibration samples resolve p-values down to "
                f"{null.resolution:.1e}; smaller ones come from a fitted tail"
            )
        return notes


def flag_contamination(
    query_ids: Sequence[object],
    row_ids: Sequence[object],
    matches: ArrayLike,
    content: ArrayLike,
    calibration: ArrayLike,
    influence: ArrayLike | None = None,
    influence_calibration: ArrayLike | None = None,
    exact: ExactCopies | None = None,
    level: float = 0.10,
) -> PairDecisions:
    """Decide which suspects leak from the training rows.

    Parameters
    ----------
    query_ids : `[suspects]`
    row_ids : `[rows]`
    matches : `[suspects, matches]`
        Positions of rows, best first, -1 for none.
    content : `[suspects, matches]`
        Larger is more alike, -inf for none.
    calibration : `[calibration suspects]`
        The same of each and its best match.
    influence : `[suspects, matches]` or None
        From `influence_scores`.
    influence_calibration : `[calibration suspects]` or None
        The same for clean suspects.
    exact : ExactCopies or None
        Which suspects are identical to a row; None where none is known to be.
    level : float
        The false discovery rate allowed among flagged suspects.

    Raises
    ------
    ValueError
        Shapes disagree, or `influence` comes without its calibration.
    """
    rows, alike = np.asarray(matches, np.int64), np.asarray(content, np.float64)
    if rows.shape != alike.shape or rows.ndim != 2 or len(rows) != len(query_ids):
        raise ValueError(
            f"expected matches and content of shape [{len(query_ids)}, matches], found "
            f"{rows.shape} and {alike.shape}"
        )
    if (influence is None) != (influence_calibration is None):
        raise ValueError("influence needs influence_calibration, and the reverse")
    if exact is None:
        calibrated = np.zeros(len(np.asarray(calibration)), bool)
        exact = ExactCopies(np.zeros(len(rows), bool), calibrated, 0, len(row_ids))
    best = alike[:, 0] if alike.shape[1] else np.empty(0)
    content_null, note = choose_null(
        np.asarray(calibration)[~exact.calibration], best[~exact.suspects[: len(best)]], level
    )
    content_p = p_values(content_null, alike)
    if len(best):
        identical = exact.suspects
        content_p[identical, 0] = exact_p_values(content_null, best[identical], exact)
    influence_p, reaction = np.ones_like(alike), np.full(alike.shape, np.nan)
    p = content_p
    if influence is not None and influence_calibration is not None:
        reaction = np.asarray(influence, np.float64)
        influence_null = fit_null(influence_calibration, trusted=True)
        influence_p = p_values(influence_null, reaction)
        p = combined_p_values(content_p, influence_p)
    flagged = _flag_matches(p, exact.suspects, level)
    present = rows >= 0
    suspect, place = np.nonzero(present)
    table = pd.DataFrame(
        {
            "query_id": np.asarray(query_ids, object)[suspect],
            "row_id": np.asarray(row_ids, object)[rows[present]],
            "rank": place + 1,
            "score": alike[present],
            "p_value": p[present],
            "flagged": flagged[present],
            "content": alike[present],
            "influence": reaction[present],
            "content_p_value": content_p[present],
            "influence_p_value": influence_p[present] if influence is not None else np.nan,
            "evidence": _evidence(content_p, influence_p, flagged)[present],
        }
    )
    return PairDecisions(table, level, content_null, [note, *_exact_notes(exact, table)])


def combined_p_values(content_p: FloatArray, influence_p: FloatArray) -> FloatArray:
    """Weighted Bonferroni: valid however the two depend on each other."""
    weighted = np.minimum(content_p / CONTENT_WEIGHT, influence_p / (1 - CONTENT_WEIGHT))
    return np.asarray(np.minimum(weighted, 1.0))


def _flag_matches(p: FloatArray, exact: BoolArray, level: float) -> BoolArray:
    """Decide on the best match of each suspect; let lower ones follow if they are as unlikely.

    The p-values of suspects that are not identical to a row compare them with rows that are not
    identical to another. Where identical ones are no leaks, both kinds are judged apart. Where they
    are leaks, all are judged together, which finds more; a clean suspect could then have been
    flagged for being identical as well, so that probability is added.
    """
    if p.size == 0:
        return np.zeros(p.shape, bool)
    first = benjamini_hochberg(np.where(exact, p[:, 0], 1.0), level)
    if first.any():
        first = benjamini_hochberg(np.where(exact, p[:, 0], p[:, 0] + p[first, 0].max()), level)
    else:
        first[~exact] = benjamini_hochberg(p[~exact, 0], level)
    cut = p[first, 0].max() if first.any() else -1.0
    return first[:, None] & (p <= cut)


def _exact_notes(exact: ExactCopies, table: pd.DataFrame) -> list[str]:
    found = int(exact.suspects.sum())
    if not found:
        return []
    named = int(table.loc[table["rank"] == 1, "flagged"].to_numpy()[exact.suspects].sum())
    return [
        f"{found} of {len(exact.suspects)} suspects are identical to a training row, and so are "
        f"{exact.repeated} of {exact.rows} training rows to another one: {named} of the "
        f"{found} are counted as leaks"
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

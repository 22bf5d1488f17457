"""Whether rows are flagged more often than labels that are known to be right.

Where right classes scatter, as in tables of people and money, a label may look wrong and be right.
The fit of right classes is never exact, and what it leaves over passes for wrong labels. Trusted
samples show it: their labels are right, they are judged as the rows are, and as often as one of
them is flagged, a right label of the rows is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import hypergeom

from dataaudit.flags.label_errors import LabelJudgement
from dataaudit.flags.results import Interval

BY_CHANCE = 0.05
"""How probable it may be that rows are flagged so much more often than right labels by chance."""
LEAST_WRONG = 0.01
"""Share of what looks wrong that is left even where right labels account for more, to rank by."""
FEWEST = 200
"""Trusted samples from which on they are asked: one that is flagged, of 50, says little of rows of
which one in fifty is."""


@dataclass(frozen=True)
class BesideRight:
    """How many rows are flagged, and how many samples whose labels are right.

    Attributes
    ----------
    flagged, rows : int
    right_flagged, right : int
    """

    flagged: int
    rows: int
    right_flagged: int
    right: int

    @property
    def shown(self) -> bool:
        """Whether more rows are flagged than chance gives (exact test; R. Fisher 1934).

        Without a flag there is none to hold back. Where no right label is flagged, nothing speaks
        against the flags; nor where few are known.
        """
        if not self.flagged or not self.right_flagged or self.right < FEWEST:
            return True
        both = self.flagged + self.right_flagged
        chance = hypergeom.sf(self.flagged - 1, self.rows + self.right, both, self.rows)
        return bool(chance < BY_CHANCE)

    @property
    def share_wrong(self) -> float:
        """Share of the flagged rows that are more than right labels account for, 0 to 1."""
        expected = self.right_flagged / self.right * self.rows
        return max(0.0, 1 - expected / self.flagged) if self.flagged else 0.0

    @property
    def words(self) -> str:
        """Why nothing is proven, as a sentence."""
        return (
            f"{self.right_flagged:,} of {self.right:,} right labels of trusted samples are flagged "
            f"as well, beside {self.flagged:,} of {self.rows:,} rows: this may be chance, and then "
            "no label is wrong"
        )


def as_shown(
    judgement: LabelJudgement, beside: BesideRight, least_precise: float | None
) -> LabelJudgement:
    """Return what is left of a judgement where right labels are flagged as often as rows.

    No interval begins above 0 then. And no row is flagged where fewer of the flagged rows are wrong
    than was asked for, as far as the right labels tell.

    Parameters
    ----------
    judgement : LabelJudgement
    beside : BesideRight
        Counted at the probability from which on rows are flagged.
    least_precise : float or None
        The share of flagged rows that are to be wrong; None: so many rows are flagged as a budget
        asks for.
    """
    if beside.shown:
        return judgement

    def from_nothing(rate: Interval) -> Interval:
        return replace(rate, low=0.0)

    judgement = replace(
        judgement, noise_rate=from_nothing(judgement.noise_rate), notes=(beside.words,)
    ).with_parts(from_nothing)
    if least_precise is not None and beside.share_wrong < least_precise:
        return _without_flags(judgement, max(beside.share_wrong, LEAST_WRONG))
    precision = judgement.precision_flagged
    return replace(
        judgement, precision_flagged=None if precision is None else from_nothing(precision)
    )


def _without_flags(judgement: LabelJudgement, share: float) -> LabelJudgement:
    """Return a judgement by which a share of what was taken for wrong is wrong, and none flagged.

    So that no row is said to be wrong more probably than those that are flagged would have to be.
    """
    probability = judgement.probability * share
    table = judgement.noise_table * share
    np.fill_diagonal(table, 0.0)
    np.fill_diagonal(table, judgement.noise_table.sum(axis=1) - table.sum(axis=1))

    def so_many(rate: Interval) -> Interval:
        return replace(rate, estimate=rate.estimate * share)

    return replace(
        judgement,
        score=np.log(probability) - np.log1p(-probability),
        probability=probability,
        flagged=np.zeros_like(judgement.flagged),
        precision_flagged=None,
        noise_rate=so_many(judgement.noise_rate),
        noise_table=table,
        notes=(),
    ).with_parts(so_many)

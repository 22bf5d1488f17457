"""Classes of which learning again says nothing: forgotten, or too rare for references to show it.

A short learning again may not bring a rare class back, and a handful of references cannot show
whether it did. There the model as it was trained speaks alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from dataaudit.flags.inputs import FEWEST_REFERENCES, References
from dataaudit.flags.probabilities import Labels, Table, Values

KEPT = 0.5
"""Share of what tells a class from the others, above chance, that learning again has to keep.
Forgotten wrong labels take some of it on any model: a third where 40 % are wrong."""
RARE = 0.2
"""Of an even share of the rows; below it a class is rare."""
MOST_COMPARED = 20_000


@dataclass(frozen=True)
class Unproven:
    """Where the model that learned again is not asked.

    Attributes
    ----------
    forgotten : bool `[C]`
        Classes that it tells from others far worse than the model before.
    few : bool `[C]`
        Rare classes with too few references to show whether it is right about them.
    """

    forgotten: NDArray[np.bool_]
    few: NDArray[np.bool_]

    @classmethod
    def of(
        cls, given: Labels, base: Table, mirrored: Table, references: References | None
    ) -> Unproven:
        """Look at all classes.

        Parameters
        ----------
        given : int64 `[rows]`
        base, mirrored : `[rows, C]`
            Probabilities of the model before and after it learned again.
        references : References or None
        """
        classes = base.shape[1]
        counts = np.bincount(given, minlength=classes)
        sample = np.linspace(0, len(given) - 1, min(len(given), MOST_COMPARED)).astype(np.int64)
        tables = [np.asarray(table[sample]) for table in (base, mirrored)]
        forgotten = np.zeros(classes, dtype=bool)
        for label in np.flatnonzero((counts > 0) & (counts < len(given))):
            members, others = np.flatnonzero(given == label)[:MOST_COMPARED], given[sample] != label
            before, after = (
                _told(table[members, label], few[others, label])
                for table, few in zip((base, mirrored), tables, strict=True)
            )
            forgotten[label] = after < KEPT * before
        if references is None:
            known = np.zeros(classes, dtype=np.int64)
        else:
            right = np.asarray(references.given_labels)[~references.planted]
            known = np.bincount(right, minlength=classes)
        return cls(forgotten, rare_classes(counts) & (known < FEWEST_REFERENCES))

    def concerns(self, given: Labels, base: Table) -> NDArray[np.bool_]:
        """Tell of which samples the model before speaks alone, bool `[samples]`.

        Those given such a class, and those that may be of a forgotten one instead.
        """
        others = np.array(base)
        others[np.arange(len(others)), given] = -1.0
        own = (self.forgotten | self.few)[given]
        return np.asarray(own | self.forgotten[others.argmax(axis=1)])

    def without(self, given: Labels, tables: Sequence[Values]) -> list[Values]:
        """Return the tables, each with what the first one says where that speaks alone."""
        if not (self.forgotten | self.few).any():
            return list(tables)
        base = tables[0]
        chosen = self.concerns(given, base)
        return [base, *(np.where(chosen[:, None], base, table) for table in tables[1:])]


def rare_classes(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which classes are rare, bool `[C]`, given how many rows each has."""
    return np.asarray((counts > 0) & (counts < RARE * counts.sum() / len(counts)))


def _told(members: Table, others: Table) -> float:
    """Return how well scores tell members from others: area under the ROC curve - .5."""
    ranks = rankdata(np.concatenate([members, others]))[: len(members)]
    count = len(members)
    return float((ranks.sum() - count * (count + 1) / 2) / (count * max(1, len(others)))) - 0.5

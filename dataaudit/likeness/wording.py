"""A column of short texts: how alike two values are, and how seldom rows are so alike by chance.

Names, titles and addresses are written otherwise by every source; they are compared by the cosine
of their character 3-grams, weighted by inverse document frequency.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from dataaudit.likeness.search import HASHED_FEATURES

LONGEST = 128
"""Characters of a value that are looked at: memory holds the 3-grams of all values."""
FEWEST_WORDS = 1.5
"""Words that values have on average, or it is a column of codes or categories."""
LEAST_DIFFERENT = 0.2
"""Of all values, the share that are different; categories repeat."""
SAMPLED = 512
"""Rows, evenly spread, among which it is counted how many are as alike."""


class Wording:
    """The values of one column of the training rows, as 3-grams."""

    def __init__(self, values: NDArray[np.object_]) -> None:
        self.known = pd.Index(pd.unique(values))
        counts = _counts(self.known.to_numpy())
        holding = np.bincount(counts.indices, minlength=counts.shape[1])
        self.weights = (np.log((1 + len(self.known)) / (1 + holding)) + 1).astype(np.float32)
        self.grams = self._unit(counts)
        chosen = np.unique(np.linspace(0, len(values) - 1, min(SAMPLED, len(values))).astype(int))
        self.sample = values[chosen]
        self.sampled = self.grams_of(self.sample).T.tocsr()

    def grams_of(self, values: NDArray[np.object_]) -> sparse.csr_matrix:
        """Return weighted 3-grams of values, `[values, features]`, each of unit length or empty."""
        place = self.known.get_indexer(values)
        new = np.flatnonzero(place < 0)
        if len(new) == 0:
            return self.grams[place]
        every = sparse.vstack([self.grams, self._unit(_counts(values[new]))], format="csr")
        place[new] = np.arange(self.grams.shape[0], every.shape[0])
        return every[place]

    def nats(
        self, ones: NDArray[np.object_], others: NDArray[np.object_], own: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return what the likeness of unequal values is worth, `[pairs]` nats, 0 or more.

        The cosine times the negative logarithm of the share of sampled rows that are at least as
        alike: what many rows are alike in counts little.

        Parameters
        ----------
        ones, others : str `[pairs]`
        own : int `[pairs]`
            1 where the former is a value of a training row, which is not counted itself.
        """
        values, place = np.unique(ones.astype(str), return_inverse=True)
        grams = self.grams_of(values.astype(object))
        right = self.grams_of(others)
        cosine = np.asarray(grams[place].multiply(right).sum(axis=1)).ravel()
        by_chance = np.sort((grams @ self.sampled).toarray(), axis=1)
        itself = own * np.isin(ones, self.sample)
        shares = np.empty(len(ones))
        for value in range(len(values)):
            here = np.flatnonzero(place == value)
            above = by_chance.shape[1] - np.searchsorted(by_chance[value], cosine[here] - 1e-6)
            shares[here] = (1 + above - itself[here]) / (1 + by_chance.shape[1])
        return np.asarray(-cosine * np.log(shares))

    def _unit(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        counts.data = (1 + np.log(counts.data)) * self.weights[counts.indices]
        row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        length = np.sqrt(np.bincount(row, counts.data**2, counts.shape[0]))
        counts.data = (counts.data / length[row]).astype(np.float32)
        return counts


def are_worded(values: NDArray[np.object_]) -> bool:
    """Tell whether a column holds short texts, most of which differ, and not categories."""
    given = values[values != ""]
    if len(given) == 0 or len(pd.unique(given)) < LEAST_DIFFERENT * len(values):
        return False
    return float(np.mean([value.count(" ") + 1 for value in given])) >= FEWEST_WORDS


def _counts(values: NDArray[np.object_]) -> sparse.csr_matrix:
    return sparse.csr_matrix(_vectorizer().transform([value[:LONGEST] for value in values]))


@lru_cache(maxsize=1)
def _vectorizer() -> HashingVectorizer:
    return HashingVectorizer(
        analyzer="char_wb",
        ngram_range=(3, 3),
        n_features=HASHED_FEATURES,
        alternate_sign=False,
        norm=None,
        lowercase=False,
        strip_accents="unicode",
        dtype=np.float32,
    )

"""Content of texts: alike up to case, punctuation, order of sentences and dropped words.

Candidates are found by the cosine of hashed words and within-word character 4-grams, weighted by
inverse document frequency, and compared by the words that they share, weighted by rarity.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from dataaudit.likeness.descriptors import FloatArray, IndexArray, TextDescriptors
from dataaudit.likeness.meaning import fold_text, words_of
from dataaudit.likeness.search import (
    HASHED_FEATURES,
    Compared,
    compare_each,
    sketch,
    sketch_projection,
)

REFINED_TEXTS = 10
FEATURES_PER_STEP = 2**24
MISSING_WORDS_SHARE = 0.05
ROUNDING = 1e-6
"""What weights of words that are added in another order may differ by."""
KEY_BYTES = 16


def describe_texts(texts: Sequence[str]) -> TextDescriptors:
    """Describe texts by the words and character 4-grams left after folding case and punctuation."""
    folded = [fold_text(text) for text in texts]
    words, grams = _vectorizers()
    counts = sparse.csr_matrix(words.transform(folded) + grams.transform(folded))
    # A text without any content is the same as no other.
    keys = [
        text_key(text) if content else os.urandom(KEY_BYTES)
        for text, content in zip(texts, folded, strict=True)
    ]
    return TextDescriptors(np.array(folded, object), counts, np.array(keys, "S16"))


def text_key(text: str) -> bytes:
    """Return 16 bytes that two texts share only if they are the same up to case and punctuation."""
    words = words_of(text).encode("utf-8", "surrogatepass")
    return blake2b(words, digest_size=KEY_BYTES).digest()


class TextRows:
    """Training texts, with the rarity of their words and character 4-grams."""

    def __init__(self, rows: TextDescriptors) -> None:
        self.rows = rows
        self.weights = _inverse_document_frequency(rows)
        self.projection = sketch_projection(rows.counts.shape[1], self.weights)
        self.rarity = WordRarity(rows)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def vectors(self, part: slice) -> FloatArray:
        """Return unit vectors of some rows to search with, `[rows, 1, width]`."""
        return sketch(self.rows.counts[part], self.projection)

    def views(self, suspects: TextDescriptors) -> FloatArray:
        """Return unit vectors of suspects to search with, `[suspects, 1, width]`."""
        return sketch(suspects.counts, self.projection)

    def compare(
        self, suspects: TextDescriptors, candidates: IndexArray, exclude: IndexArray | None
    ) -> Compared:
        """Compare suspects with some rows; the score grows steeply near 1."""

        def compare_one(position: int, row_positions: IndexArray) -> Compared:
            left = _unit_rows(suspects.counts[position], self.weights)
            # Transposing one sparse row takes longer than all the rest.
            dense = np.zeros(left.shape[1], np.float32)
            dense[left.indices] = left.data
            right = _unit_rows(self.rows.counts[row_positions], self.weights)
            cosine = np.asarray(right @ dense, np.float32)
            similarity = np.zeros(len(row_positions), np.float32)
            for place in np.argsort(-cosine, kind="stable")[:REFINED_TEXTS]:
                row = self.rows.folded[int(row_positions[place])]
                similarity[place] = self.rarity.similarity(suspects.folded[position], row)
            # equal words in another order: the one with more common 4-grams first
            return similarity, -np.log(1.02 - similarity) + 1e-3 * cosine

        return compare_each(compare_one, candidates)


@lru_cache(maxsize=1)
def _vectorizers() -> tuple[HashingVectorizer, HashingVectorizer]:
    common: dict[str, Any] = {"n_features": HASHED_FEATURES, "alternate_sign": False, "norm": None}
    common |= {"lowercase": False, "dtype": np.float32}
    words = HashingVectorizer(analyzer="word", token_pattern=r"\S+", **common)
    grams = HashingVectorizer(analyzer="char_wb", ngram_range=(4, 4), **common)
    return words, grams


class WordRarity:
    """How rare each word is among the training rows, and how alike two texts are by their words."""

    def __init__(self, rows: TextDescriptors) -> None:
        holding = Counter(word for text in rows.folded for word in set(text.split()))
        self.weights = {w: math.log((1 + len(rows)) / (1 + n)) + 0.5 for w, n in holding.items()}
        self.unseen = math.log(1 + len(rows)) + 0.5

    def similarity(self, suspect: str, row: str) -> float:
        """Return shared / (shared + rest of the suspect + a twentieth of the row's), in rarity.

        Words that a suspect lacks cost little, words of its own cost much: an edited copy mostly
        drops words, while a natural near-twin of a row has its own (A. Tversky, "Features of
        similarity", Psychological Review 1977).
        """
        suspect_stream, row_stream = suspect.replace(" ", ""), row.replace(" ", "")
        if suspect_stream == row_stream:
            return 1.0
        words, others = Counter(suspect.split()), Counter(row.split())
        shared = sum(self._weight(w) * n for w, n in (words & others).items())
        own_rest = self._rest(words - others, row_stream)
        row_rest = self._rest(others - words, suspect_stream)
        total = shared + own_rest + MISSING_WORDS_SHARE * row_rest
        return shared / total if total > 0 else 0.0

    def reach(self, one: str, other: str, least: float) -> bool:
        """Tell whether two texts are at least so alike, each held against the other.

        Of most pairs that are not, a bound on the similarity shows it in a fraction of the time.
        """
        both = ((one, other), (other, one))
        return all(self._may_reach(a, b, least) for a, b in both) and all(
            self.similarity(a, b) >= least for a, b in both
        )

    def _may_reach(self, suspect: str, row: str, least: float) -> bool:
        """Tell whether the similarity might be `least`: were shared words shared as often."""
        stream, there = row.replace(" ", ""), set(row.split())
        shared, lacking = 0.0, []
        for word in suspect.split():
            if word in there:
                shared += self._weight(word)
            else:
                lacking.append(word)
        most = shared * (1 / least - 1) + ROUNDING
        rest = 0.0
        for word in lacking:
            if len(word) < 3 or word not in stream:
                rest += self._weight(word)
                if rest > most:
                    return suspect.replace(" ", "") == stream
        return True

    def _weight(self, word: str) -> float:
        return self.weights.get(word, self.unseen)

    def _rest(self, words: Counter[str], stream: str) -> float:
        """Weight of the words not in the other text, wherever its blanks are."""
        return sum(
            self._weight(word) * n
            for word, n in words.items()
            if not (len(word) >= 3 and word in stream)
        )


def _inverse_document_frequency(rows: TextDescriptors) -> FloatArray:
    """Return [features] ln((1 + rows) / (1 + rows holding the feature)) + 1."""
    indices, holding = rows.counts.indices, np.zeros(rows.counts.shape[1], np.int64)
    # Part by part: counting copies what it counts.
    for start in range(0, len(indices), FEATURES_PER_STEP):
        part = indices[start : start + FEATURES_PER_STEP]
        holding += np.bincount(part, minlength=len(holding))
    return np.asarray(np.log((1 + len(rows)) / (1 + holding)) + 1, np.float32)


def _unit_rows(counts: sparse.csr_matrix, weights: FloatArray) -> sparse.csr_matrix:
    """Return sublinear counts times weights, each row of unit length."""
    weighted = counts.copy()
    weighted.data = (1 + np.log(weighted.data)) * weights[weighted.indices]
    row = np.repeat(np.arange(weighted.shape[0]), np.diff(weighted.indptr))
    length = np.sqrt(np.bincount(row, weighted.data**2, weighted.shape[0]))
    weighted.data = (weighted.data / np.maximum(length[row], 1e-9)).astype(np.float32)
    return weighted

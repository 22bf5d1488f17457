"""Like compared with like: training rows cut down to what suspects are, before they stand in.

A short text is part of a long one more easily than a long one is, and so is a row with few fields
filled. Rows that show how alike clean suspects are must not be longer, nor more complete, than
these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from dataaudit.likeness.descriptors import Descriptors, TableDescriptors, TextDescriptors
from dataaudit.likeness.texts import describe_texts

CLEARLY_DIFFERENT = 0.001
"""The p-value (Kolmogorov and Smirnov) below which sizes count as different."""
SHORTER = 0.8
"""Suspects count as smaller if their mean size is at most this part of the rows'."""


def dressed(
    rows: Descriptors, suspects: Descriptors, generator: np.random.Generator
) -> tuple[Descriptors, str]:
    """Return the rows as small as suspects are, and a note; as they are, where sizes are alike.

    Each row gets the size of a suspect drawn at random: a text is cut to a run of as many words,
    and fields of a table are left out where the suspect has none.
    """
    if isinstance(rows, TextDescriptors) and isinstance(suspects, TextDescriptors):
        lengths = [[len(text.split()) for text in items.folded] for items in (rows, suspects)]
        if not _are_smaller(*lengths):
            return rows, ""
        drawn = generator.choice(lengths[1], len(rows))
        texts = [
            _run_of_words(text, int(length), generator)
            for text, length in zip(rows.folded, drawn, strict=True)
        ]
        return describe_texts(texts), "training rows were cut to the suspects' lengths to compare"
    if isinstance(rows, TableDescriptors) and isinstance(suspects, TableDescriptors):
        absent = [_absent(items) for items in (rows, suspects)]
        if not _are_smaller(*((~fields).sum(axis=1) for fields in absent)):
            return rows, ""
        drawn = generator.integers(0, len(suspects), len(rows))
        return (
            _without(rows, absent[1][drawn]),
            "training rows were compared without the fields that suspects lack",
        )
    return rows, ""


def _are_smaller(
    rows: NDArray[np.int64] | list[int], suspects: NDArray[np.int64] | list[int]
) -> bool:
    if not len(rows) or not len(suspects) or np.mean(suspects) > SHORTER * np.mean(rows):
        return False
    return bool(ks_2samp(rows, suspects).pvalue < CLEARLY_DIFFERENT)


def _run_of_words(text: str, length: int, generator: np.random.Generator) -> str:
    words = text.split()
    start = int(generator.integers(0, max(len(words) - length, 0) + 1))
    return " ".join(words[start : start + max(length, 1)])


def _absent(items: TableDescriptors) -> NDArray[np.bool_]:
    return np.concatenate([np.isnan(items.numbers), items.categories == ""], axis=1)


def _without(rows: TableDescriptors, absent: NDArray[np.bool_]) -> TableDescriptors:
    numbers, categories = rows.numbers.copy(), rows.categories.copy()
    numbers[absent[:, : numbers.shape[1]]] = np.nan
    categories[absent[:, numbers.shape[1] :]] = ""
    return TableDescriptors(numbers, categories, rows.cells, rows.columns)

"""Words: rows that hold a text as the list of its words, one tag for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

USUAL_NAMES = ("tokens", "words")


def text_of(value: Any) -> str:
    """Return a text as it is, and a list of words with blanks between them."""
    return " ".join(map(str, value)) if is_list(value) else str(value)


def is_list(value: Any) -> bool:
    """Tell whether a cell holds several values."""
    return isinstance(value, list | tuple | np.ndarray)


def words_column(rows: pd.DataFrame, features: Sequence[str], tags: pd.Series) -> str | None:
    """Return the column that holds the words that are tagged, or None where there is none.

    Parameters
    ----------
    rows : pandas.DataFrame
        The first rows.
    features : sequence of str
        The columns that are neither label nor id.
    tags : pandas.Series
        Of the same rows, at least. Tags may also be those of a model's own tokens; then most rows
        have another number of words, and their words say nothing about a tag's place.
    """
    lists = [name for name in features if _holds_words(rows[name], tags)]
    usual = [name for name in USUAL_NAMES if name in lists]
    return next(iter(usual or lists), None)


def _holds_words(column: pd.Series, tags: pd.Series) -> bool:
    fitting = [
        is_list(words) and is_list(own) and len(words) == len(own) and _are_text(words)
        for words, own in zip(column.tolist(), tags.tolist(), strict=False)
    ]
    return bool(fitting) and 2 * sum(fitting) > len(fitting)


def _are_text(words: Sequence[Any]) -> bool:
    return all(isinstance(word, str) for word in words)

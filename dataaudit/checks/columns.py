"""Rows of any kind as columns of numbers and words, so that one check serves all kinds.

Tables have their own columns. Of texts, a column says whether a word is in them; of pictures, how
bright, sharp and large they are, and how bright each part is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.checks.pictures import Pictures
from dataaudit.datasets.frames import spread
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.words import text_of
from dataaudit.likeness.meaning import cells_of, fold_text, numbers_of

ROWS_PER_READ = 2048
MOST_WORDS = 300
"""Words that texts have a column for: those that most training texts hold, but not nearly all."""
SHARE_OF_WORDS = (0.005, 0.7)
MOST_COLUMNS = 500
"""The first columns of a table that are looked at."""


@dataclass(frozen=True)
class Columns:
    """Some rows of a split, as columns.

    Attributes
    ----------
    positions : int64 `[n]`, ascending
    numbers : mapping of name to float64 `[n]`
        NaN where there is none.
    words : mapping of name to str `[n]`
        Empty where there is none.
    labels : as `Samples.labels`, `[n]`
    """

    positions: NDArray[np.int64]
    numbers: dict[str, NDArray[np.float64]]
    words: dict[str, NDArray[np.object_]]
    labels: NDArray[Any]

    def coded(self, name: str) -> NDArray[np.int64]:
        """Return a column of words as numbers from 0, `[n]`, in the order of the alphabet."""
        return np.unique(self.words[name].astype(str), return_inverse=True)[1].astype(np.int64)


def columns_of(
    samples: Samples,
    most: int,
    pictures: Pictures,
    like: Columns | None,
    without: str | None = None,
) -> Columns:
    """Return an even choice of rows as columns.

    Parameters
    ----------
    samples : Samples
    most : int
        Rows to choose; of pictures, those are taken whose parts were measured.
    pictures : Pictures
        What is measured of pictures.
    like : Columns or None
        Those of the training rows: a column is a number, or is there, if it is there.
    without : str or None
        A column that is left out: that of the times.
    """
    if samples.modality == "image":
        measured = pictures.of(samples)
        positions = measured.positions
        return Columns(positions, measured.columns(), {}, samples.labels[positions])
    positions = spread(len(samples), most)
    make = _MAKERS[samples.modality]
    numbers, words = make(samples, chosen(samples, positions), like)
    if without is not None:
        numbers.pop(without, None)
        words.pop(without, None)
    return Columns(positions, numbers, words, samples.labels[positions])


def chosen(samples: Samples, positions: NDArray[np.int64]) -> Iterator[pd.DataFrame]:
    """Yield the rows at ascending positions, block by block, in one way through the data."""
    start = 0
    for frame in samples.source.frames(ROWS_PER_READ):
        low, high = np.searchsorted(positions, [start, start + len(frame)])
        if high > low:
            yield frame.iloc[positions[low:high] - start]
        start += len(frame)


Made = tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.object_]]]


def _of_table(samples: Samples, frames: Iterator[pd.DataFrame], like: Columns | None) -> Made:
    frame = pd.concat(list(frames))
    special = samples.special_columns()
    names = [name for name in frame.columns if name not in special][:MOST_COLUMNS]
    numbers: dict[str, NDArray[np.float64]] = {}
    words: dict[str, NDArray[np.object_]] = {}
    for name in names:
        key = str(name)
        is_number = _is_number(frame[name]) if like is None else key in like.numbers
        if is_number:
            values = numbers_of(frame[name])
            numbers[key] = np.where(np.isfinite(values), values, np.nan)
        elif like is None or key in like.words:
            words[key] = cells_of(frame[name])
    return numbers, words


def _is_number(column: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(column.dtype):
        return False
    if pd.api.types.is_numeric_dtype(column.dtype):
        return True
    known = column.dropna()
    return len(known) > 0 and bool(np.isfinite(numbers_of(known)).mean() > 0.95)


def _of_texts(samples: Samples, frames: Iterator[pd.DataFrame], like: Columns | None) -> Made:
    texts = [
        fold_text(text_of(value)).split() for frame in frames for value in frame[_content(samples)]
    ]
    known = _common_words(texts) if like is None else [name for name in like.words if name]
    place = {word: column for column, word in enumerate(known)}
    holds = np.zeros((len(texts), len(known)), bool)
    for line, text in enumerate(texts):
        holds[line, [place[word] for word in {*text} if word in place]] = True
    words = {
        word: np.where(holds[:, column], "in it", "not in it").astype(object)
        for column, word in enumerate(known)
    }
    return {"number of words": np.array([len(text) for text in texts], np.float64)}, words


def _common_words(texts: list[list[str]]) -> list[str]:
    holding = Counter(word for text in texts for word in {*text})
    low, high = (share * len(texts) for share in SHARE_OF_WORDS)
    common = [(-count, word) for word, count in holding.items() if low <= count <= high]
    return [word for _, word in sorted(common)[:MOST_WORDS]]


def _of_tensors(samples: Samples, frames: Iterator[pd.DataFrame], like: Columns | None) -> Made:
    values = [
        np.asarray(value, np.float64) for frame in frames for value in _inputs(frame, samples)
    ]
    if len({value.shape for value in values}) > 1 or values[0].ndim > 1:
        return {"mean": np.array([value.mean() for value in values])}, {}
    table = np.stack([np.atleast_1d(value) for value in values])[:, :MOST_COLUMNS]
    return {f"value {place}": column for place, column in enumerate(table.T)}, {}


def _inputs(frame: pd.DataFrame, samples: Samples) -> list[Any]:
    values = frame[_content(samples)]
    return [value.detach().cpu() if hasattr(value, "detach") else value for value in values]


def _content(samples: Samples) -> str:
    assert samples.content_column is not None
    return samples.content_column


_MAKERS: dict[str, Callable[[Samples, Iterator[pd.DataFrame], Columns | None], Made]] = {
    "table": _of_table,
    "text": _of_texts,
    "tensor": _of_tensors,
}

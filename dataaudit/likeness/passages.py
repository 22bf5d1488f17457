"""Passages that texts share: runs of words, less those that are common among training texts.

Runs of 13 words, as GPT-3's overlap analysis (T. Brown et al., "Language models are few-shot
learners", NeurIPS 2020, appendix C).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from dataaudit.likeness.meaning import fold_text

RUN = 13
"""Words of a run."""
COMMON = 10
"""A run that so many training texts hold is boilerplate, and proves nothing."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Shared:
    """What each text shares with training texts.

    Attributes
    ----------
    runs : int64 `[texts]`
        How many different runs it has.
    found : int64 `[texts]`
        How many of them stand in training texts, the common ones left out.
    row : int64 `[texts]`
        The first training text that holds one of these; -1 for none.
    """

    runs: NDArray[np.int64]
    found: NDArray[np.int64]
    row: NDArray[np.int64]


def runs_of(text: str) -> Hashes:
    """Return the hashes of all runs of a text, each once, ascending; of short texts none."""
    words = fold_text(text).split()
    if len(words) < RUN:
        return np.empty(0, np.uint64)
    codes = np.array([_code(word) for word in words], np.uint64)
    count = len(words) - RUN + 1
    total = np.zeros(count, np.uint64)
    for place in range(RUN):
        total = total * _FACTOR + codes[place : place + count]
    return np.unique(total)


@lru_cache(maxsize=1 << 18)
def _code(word: str) -> int:
    content = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def shared_passages(texts: Sequence[str], rows: Iterable[str]) -> Shared:
    """Find the runs of words that texts share with training texts.

    Memory holds the runs of the texts; training texts are gone through once.

    Parameters
    ----------
    texts : sequence of str
    rows : iterable of str
        The training texts, in order.
    """
    own = [runs_of(text) for text in texts]
    known, place = np.unique(np.concatenate([np.empty(0, np.uint64), *own]), return_inverse=True)
    times = np.zeros(len(known), np.int64)
    first = np.full(len(known), -1)
    if len(known):
        for number, text in enumerate(rows):
            runs = runs_of(text)
            at = np.searchsorted(known, runs).clip(max=len(known) - 1)
            hit = at[known[at] == runs]
            times[hit] += 1
            first[hit] = np.where(first[hit] < 0, number, first[hit])
    rare = (times > 0) & (times < COMMON)
    starts = np.concatenate([[0], np.cumsum([len(runs) for runs in own])])
    found = np.zeros(len(own), np.int64)
    row = np.full(len(own), -1)
    for number in range(len(own)):
        held = place[starts[number] : starts[number + 1]]
        hits = held[rare[held]]
        found[number] = len(hits)
        if len(hits):
            row[number] = first[hits].min()
    return Shared(np.diff(starts), found, row)

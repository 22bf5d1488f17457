"""Answers of alike instructions, which are the ones that are most easily mistaken."""

from __future__ import annotations

from sklearn.feature_extraction.text import TfidfVectorizer

from dataaudit.datasets.frames import spread
from dataaudit.datasets.instructions import INSTRUCTION
from dataaudit.datasets.samples import Samples
from dataaudit.labels.answers import TEXT

MOST_COMPARED = 2000
"""Samples, evenly spread where there are more."""
SAME = 0.8
"""Cosine from which on two instructions may ask for the same, so that each answer fits both."""


def alike_answers(samples: Samples) -> dict[int, int]:
    """Return for answers that of the instruction that shares most with theirs, by place.

    Instructions are alike by the cosine of their words, weighed by how rare they are. Answers
    without another one that shares a word are left out.

    Parameters
    ----------
    samples : Samples
        With answers as labels.
    """
    batch = samples.take(spread(len(samples), MOST_COMPARED))
    answers = batch.labels[:, TEXT]
    texts = batch.frame[INSTRUCTION].fillna("").tolist()
    words = TfidfVectorizer(token_pattern=r"\S+").fit_transform([*texts, "."])[:-1]
    found: dict[int, int] = {}
    for line, own in enumerate(answers.tolist()):
        shared = (words @ words[line].T).toarray().ravel()
        shared[(answers == own) | (shared >= SAME)] = 0
        if own >= 0 and shared.max() > 0:
            found.setdefault(own, int(answers[shared.argmax()]))
    return found

"""Mislabel flags for tags: which rows have a token with the wrong tag.

A token is to a row what a label is to a set. Probabilities of all tokens of all rows are never held
together: they are read part by part, once for the signals and once for the suggestions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.flags.most_doubtful import (
    NAMED,
    Suggestions,
    doubted,
    flag_by_the_most_doubtful,
    note,
)
from dataaudit.flags.probabilities import SMALLEST, Values
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings
from dataaudit.labels.tags import NOT_JUDGED, Tags, as_text, carriers

LONGEST_WORD = 40
"""Characters of a word that is named."""
ABOUT_TAGS = (
    "A row counts as wrong when any of its tags is; a planted error is one wrong tag. Rates by tag "
    "are those of the rows that carry it. The suggestion changes every tag that is more probably "
    "wrong than right, and at least the most doubtful one."
)

Probabilities = NDArray[np.floating[Any]]
"""`[rows, tokens, C]`"""


@dataclass(frozen=True)
class TaggedRows:
    """Consecutive rows, and what the models say of their tokens.

    Attributes
    ----------
    tags : int16 `[rows, tokens]`
        Given tags; `NOT_JUDGED` where there is none.
    own, familiar, mirrored : `[rows, tokens, C]`
        Probability of each tag under the trained model; the model that knows the references as
        well as its rows; and the model that learned again.
    words : callable or None
        Returns the rows' words; asked only where a word is named.
    """

    tags: Tags
    own: Probabilities
    familiar: Probabilities
    mirrored: Probabilities
    words: Callable[[], Sequence[Sequence[str]]] | None = None


@dataclass(frozen=True)
class ReferenceTags:
    """Trusted samples that were learned like training rows, some with one tag wrong.

    Attributes
    ----------
    tags : int16 `[references, tokens]`
        The tags that each was learned under.
    planted : bool `[references]`
        Whether one of them is wrong.
    base, mirrored : `[references, tokens, C]`
        Probability of each tag, of the model before and after it learned again.
    """

    tags: Tags
    planted: NDArray[np.bool_]
    base: Probabilities
    mirrored: Probabilities


def flag_tags(
    row_ids: NDArray[Any],
    classes: Sequence[str | int],
    tags: Tags,
    parts: Iterable[TaggedRows],
    references: ReferenceTags | None,
    settings: FlagSettings = DEFAULTS,
) -> MislabelFlags:
    """Flag rows of whose tags at least one is probably wrong.

    Parameters
    ----------
    row_ids : `[rows]`
    classes : sequence, length C
    tags : int16 `[rows, tokens]`
        At least one token of each row is judged.
    parts : iterable of TaggedRows
        All rows in order; it is gone through twice.
    references : ReferenceTags or None
    settings : FlagSettings
    """
    signals, losses = [], []
    for part in parts:
        signals.append(tag_signals(part.tags, part.familiar, part.mirrored))
        losses.append(np.stack([_loss(part.tags, part.own), _loss(part.tags, part.mirrored)], 1))
    known = None
    if references is not None:
        found = tag_signals(references.tags, references.base, references.mirrored)
        known = found, references.planted
    carried = carriers(tags, len(classes))
    return flag_by_the_most_doubtful(
        row_ids,
        np.array([as_text(row, classes) for row in tags], dtype=object),
        {str(name): carried[:, place] for place, name in enumerate(classes)},
        np.concatenate(signals),
        known,
        np.concatenate(losses),
        lambda share: _suggestions(classes, parts, share),
        ABOUT_TAGS,
        settings,
    )


def tag_signals(tags: Tags, base: Probabilities, mirrored: Probabilities) -> Values:
    """Return the log odds against each row's most doubtful tag, `[rows, 2]`, nats.

    Parameters
    ----------
    tags : `[rows, tokens]`
    base, mirrored : `[rows, tokens, C]`
        The first column is `base`'s.
    """
    worst = [_doubts(tags, values).max(axis=1) for values in (base, mirrored)]
    return np.stack(worst, axis=1)


def _of_the_given(tags: Tags, probabilities: Probabilities) -> Values:
    """Return the probability of each given tag, `[rows, tokens]`; 1 where none is judged."""
    judged = tags != NOT_JUDGED
    places = np.where(judged, tags, 0).astype(np.int64)[:, :, None]
    found = np.take_along_axis(probabilities, places, axis=2)[:, :, 0].astype(np.float64)
    return np.where(judged, np.clip(found, SMALLEST, 1 - SMALLEST), 1.0)


def _loss(tags: Tags, probabilities: Probabilities) -> Values:
    each = -np.log(_of_the_given(tags, probabilities))
    return np.asarray(each.sum(axis=1) / np.maximum((tags != NOT_JUDGED).sum(axis=1), 1))


def _doubts(tags: Tags, probabilities: Probabilities) -> Values:
    """Return the log odds that each tag is wrong, `[rows, tokens]`, nats; -inf where not judged."""
    given = _of_the_given(tags, probabilities)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log1p(-given) - np.log(given))


def _suggestions(
    classes: Sequence[str | int], parts: Iterable[TaggedRows], share: float
) -> Suggestions:
    labels: list[str] = []
    worst: list[Values] = []
    notes: list[str] = []
    for part in parts:
        both = (1 - share, part.familiar), (share, part.mirrored)
        # Without weights of 0: 0 times the minus infinity of padding is no number.
        doubts = np.sum([w * _doubts(part.tags, found) for w, found in both if w > 0], axis=0)
        changed = doubted(doubts)
        others = np.array(part.mirrored)
        rows, tokens = np.nonzero(part.tags != NOT_JUDGED)
        others[rows, tokens, part.tags[rows, tokens]] = -1
        best = others.argmax(axis=2)
        suggested = np.where(changed, best, part.tags)
        words = None if part.words is None else part.words()
        for line, row in enumerate(suggested):
            labels.append(as_text(row, classes))
            places = np.flatnonzero(changed[line])
            places = places[np.argsort(-doubts[line, places], kind="stable")]
            named = [
                f"token {place + 1}{_shown(words, line, place)} is tagged "
                f"{classes[part.tags[line, place]]}, and {classes[row[place]]} with probability "
                f"{part.mirrored[line, place, row[place]]:.2f}"
                for place in places[:NAMED].tolist()
            ]
            notes.append(note(named, len(places)))
        worst.append(doubts.max(axis=1))
    return Suggestions(np.array(labels, dtype=object), np.concatenate(worst), notes)


def _shown(words: Sequence[Sequence[str]] | None, line: int, place: int) -> str:
    return "" if words is None else f" ({words[line][place][:LONGEST_WORD]!r})"

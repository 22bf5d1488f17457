"""Mislabel flags for tags: which rows have a token with the wrong tag.

A token is to a row what a label is to a set. Probabilities of all tokens of all rows are never held
together: they are read part by part, once for the signals and once for the suggestions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.most_doubtful import (
    NAMED,
    Suggestions,
    doubted,
    flag_by_the_most_doubtful,
    note,
)
from dataaudit.flags.probabilities import SMALLEST, Table, Values
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings
from dataaudit.labels.tags import NOT_JUDGED, Tags, carriers

NUMBERS_PER_PART = 2**22
"""Probabilities of one model that are held at a time."""
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
class _Part:
    """Consecutive rows, and what the models say of their tokens.

    Attributes
    ----------
    positions : int64 `[rows]`
    tags : int16 `[rows, tokens]`
    own, familiar, mirrored : `[rows, tokens, C]`
    unseen : sequence of `[rows, tokens, C]`
        Of what has not learned the row, one at most.
    """

    positions: NDArray[np.int64]
    tags: Tags
    own: Probabilities
    familiar: Probabilities
    mirrored: Probabilities
    unseen: Sequence[Probabilities]


def flag_tags(
    rows: LabelledRows, references: References | None, settings: FlagSettings = DEFAULTS
) -> MislabelFlags:
    """Flag rows of whose tags at least one is probably wrong.

    Parameters
    ----------
    rows : LabelledRows
        Labels are class indices or `NOT_JUDGED`, int16 `[rows, tokens]`, at least one token of
        each row is judged; predictions are the probability of each tag, `[rows, tokens * C]`.
    references : References or None
        The planted ones have one tag wrong.
    settings : FlagSettings
    """
    signals, losses = [], []
    for part in _parts(rows):
        signals.append(tag_signals(part.tags, [part.familiar, *part.unseen, part.mirrored]))
        losses.append(np.stack([_loss(part.tags, part.own), _loss(part.tags, part.mirrored)], 1))
    known = None
    if references is not None and references.are_enough:
        others = [] if references.unseen is None else [references.unseen]
        tables = [
            _of_tokens(table, len(rows.classes))
            for table in (references.base, *others, references.mirrored)
        ]
        known = tag_signals(references.given_labels, tables), references.planted
    return flag_by_the_most_doubtful(
        rows.ids,
        rows.shown(rows.labels),
        {str(name): carriers(rows.labels, place) for place, name in enumerate(rows.classes)},
        np.concatenate(signals),
        known,
        np.concatenate(losses),
        lambda share: _suggestions(rows, share),
        ABOUT_TAGS,
        settings,
    )


def _parts(rows: LabelledRows) -> Iterator[_Part]:
    """Yield all rows in order; the predictions, as `LabelledRows` has them, may lie on disk."""
    per_part = max(1, NUMBERS_PER_PART // rows.mirrored.shape[1])
    for start in range(0, len(rows.labels), per_part):
        part = slice(start, start + per_part)
        others = [] if rows.unseen is None else [rows.unseen]
        own, familiar, mirrored, *unseen = (
            _of_tokens(table[part], len(rows.classes))
            for table in (rows.own, rows.familiar, rows.mirrored, *others)
        )
        tags = rows.labels[part]
        yield _Part(np.arange(start, start + len(tags)), tags, own, familiar, mirrored, unseen)


def _of_tokens(predictions: Table, classes: int) -> Probabilities:
    return predictions.reshape(len(predictions), -1, classes)


def tag_signals(tags: Tags, tables: Sequence[Probabilities]) -> Values:
    """Return the log odds against each row's most doubtful tag, `[rows, tables]`, nats.

    Parameters
    ----------
    tags : `[rows, tokens]`
    tables : sequence of `[rows, tokens, C]`
    """
    worst = [_doubts(tags, values).max(axis=1) for values in tables]
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


def _suggestions(rows: LabelledRows, share: float) -> Suggestions:
    classes = rows.classes
    labels: list[NDArray[Any]] = []
    worst: list[Values] = []
    notes: list[str] = []
    for part in _parts(rows):
        after = np.mean([*part.unseen, part.mirrored], axis=0)
        both = (1 - share, part.familiar), (share, after)
        # Without weights of 0: 0 times the minus infinity of padding is no number.
        doubts = np.sum([w * _doubts(part.tags, found) for w, found in both if w > 0], axis=0)
        changed = doubted(doubts)
        others = after.copy()
        lines, tokens = np.nonzero(part.tags != NOT_JUDGED)
        others[lines, tokens, part.tags[lines, tokens]] = -1
        best = others.argmax(axis=2)
        suggested = np.where(changed, best, part.tags)
        words = None if rows.words is None else rows.words(part.positions)
        labels.append(rows.shown(suggested))
        for line, row in enumerate(suggested):
            places = np.flatnonzero(changed[line])
            places = places[np.argsort(-doubts[line, places], kind="stable")]
            named = [
                f"token {place + 1}{_shown(words, line, place)} is tagged "
                f"{classes[part.tags[line, place]]}, and {classes[row[place]]} with probability "
                f"{after[line, place, row[place]]:.2f}"
                for place in places[:NAMED].tolist()
            ]
            notes.append(note(named, len(places)))
        worst.append(doubts.max(axis=1))
    return Suggestions(np.concatenate(labels), np.concatenate(worst), notes)


def _shown(words: Sequence[Sequence[str]] | None, line: int, place: int) -> str:
    return "" if words is None else f" ({words[line][place][:LONGEST_WORD]!r})"

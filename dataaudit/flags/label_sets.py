"""Mislabel flags for several labels a row: which rows have a label too many or too few."""

from __future__ import annotations

from collections.abc import Sequence
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
from dataaudit.flags.probabilities import SMALLEST, Table, Values, row_blocks
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings

ABOUT_SETS = (
    "A row counts as wrong when any of its labels is; a planted error is one label too many or "
    "too few. Rates by label are those of the rows that carry it. The suggested set changes every "
    "label that is more probably wrong than right, and at least the most doubtful one."
)

Members = NDArray[np.integer[Any]]
"""`[rows, L]`, 1 where a label is present."""


def flag_label_sets(
    rows: LabelledRows, references: References | None, settings: FlagSettings = DEFAULTS
) -> MislabelFlags:
    """Flag rows of whose labels at least one is probably wrong.

    Parameters
    ----------
    rows : LabelledRows
        Labels are 0 or 1, `[rows, L]`; predictions are the probability of each, `[rows, L]`.
    references : References or None
        The planted ones have one label wrong.
    settings : FlagSettings
    """
    members, classes = rows.labels, rows.classes
    carriers = {str(name): members[:, place] > 0 for place, name in enumerate(classes)}
    known = None
    if references is not None and references.are_enough:
        found = set_signals(references.given_labels, references.base, references.mirrored)
        known = found, references.planted
    parts = list(row_blocks(*members.shape))
    signals, losses = [], []
    for part in parts:
        given, mirrored = members[part], rows.mirrored[part]
        signals.append(set_signals(given, rows.familiar[part], mirrored))
        losses.append(np.stack([_loss(given, rows.own[part]), _loss(given, mirrored)], axis=1))

    return flag_by_the_most_doubtful(
        rows.ids,
        rows.shown(members),
        carriers,
        np.concatenate(signals),
        known,
        np.concatenate(losses),
        lambda share: _suggestions(rows, parts, share),
        ABOUT_SETS,
        settings,
    )


def _suggestions(rows: LabelledRows, parts: Sequence[slice], share: float) -> Suggestions:
    """Suggest sets, some rows at a time: what is made of a row's labels takes much room."""
    labels: list[NDArray[Any]] = []
    worst: list[Values] = []
    notes: list[str] = []
    for part in parts:
        members, mirrored = rows.labels[part], rows.mirrored[part]
        doubts = (1 - share) * _doubts(members, rows.familiar[part])
        doubts += share * _doubts(members, mirrored)
        suggested = np.where(doubted(doubts), 1 - members, members)
        labels.append(rows.shown(suggested))
        worst.append(doubts.max(axis=1))
        notes += _notes(rows.classes, members, suggested, mirrored)
    return Suggestions(np.concatenate(labels), np.concatenate(worst), notes)


def set_signals(members: Members, base: Table, mirrored: Table) -> Values:
    """Return the log odds against each row's most doubtful label, `[rows, 2]`, nats.

    Parameters
    ----------
    members : `[rows, L]`
    base, mirrored : `[rows, L]`
        Probabilities that each label is present; the first column is `base`'s.
    """
    worst = [_doubts(members, values).max(axis=1) for values in (base, mirrored)]
    return np.stack(worst, axis=1)


def _loss(members: Members, probabilities: Table) -> Values:
    given = np.where(members > 0, probabilities, 1 - np.asarray(probabilities, dtype=np.float64))
    return np.asarray(-np.log(np.clip(given, SMALLEST, 1)).sum(axis=1))


def _doubts(members: Members, probabilities: Table) -> Values:
    """Return the log odds that each single label is wrong, `[rows, L]`, nats."""
    present = np.clip(np.asarray(probabilities, dtype=np.float64), SMALLEST, 1 - SMALLEST)
    odds = np.log(present) - np.log1p(-present)
    return np.asarray(np.where(members > 0, -odds, odds))


def _notes(
    classes: Sequence[str | int], members: Members, suggested: Members, mirrored: Table
) -> list[str]:
    """Say of each row which labels are doubtful, the most doubtful first."""
    names = [str(name) for name in classes]
    opposite = np.where(members > 0, 1 - mirrored, mirrored)
    notes = []
    for line in range(len(members)):
        changed = np.flatnonzero(members[line] != suggested[line])
        worst = changed[np.argsort(-opposite[line, changed], kind="stable")][:NAMED]
        parts = [
            f"{names[place]} is {'given' if members[line, place] else 'missing'}, and "
            f"{'absent' if members[line, place] else 'present'} with probability "
            f"{opposite[line, place]:.2f}"
            for place in worst
        ]
        notes.append(note(parts, len(changed)))
    return notes

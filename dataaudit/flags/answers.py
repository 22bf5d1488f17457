"""Mislabel flags for answers: which do not fit their instruction.

What tells is how much the instruction helps with the answer's tokens, on the whole and in the
stretch where it helps least, how surprising they are, and whether the answer ends where it should.
How much each of these counts is fitted on the references, of which some have a wrong answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.most_doubtful import Suggestions, flag_by_the_most_doubtful
from dataaudit.flags.probabilities import Table, Values
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings
from dataaudit.labels.answers import AFTER, ALONE, COUNT, END, HINDERED, SURPRISE

FOLDS = 5
RIDGE = 0.1
MOST_SHOWN = 600
"""Rows, the most suspicious first, whose tokens are looked at."""
STRETCH = 8
"""Tokens that are named, those where the instruction helps least."""
LEFT_OUT = (
    "The model learned again from fresh or initial weights, over and over, each time without a "
    "part of the training rows and trusted samples, which it then judged. The yardstick is {} "
    "trusted samples, a quarter of them judged under a wrong answer on purpose."
)
ABOUT_ANSWERS = (
    "An answer is wrong where it does not fit its instruction. A planted error is another row's "
    "answer, that to the instruction most alike, one whose end is another's, or one that is cut "
    "off. It is told by the losses of the answer's tokens after the instruction and alone (their "
    "difference is the logarithm of IFD, Li et al., NAACL 2024), on the whole and in the worst "
    "stretch, and by the loss of the token that ends it. What the answer should be is not "
    "suggested; its least fitting tokens are named in the {} most suspicious rows."
)


def flag_answers(
    rows: LabelledRows, references: References | None, settings: FlagSettings = DEFAULTS
) -> MislabelFlags:
    """Flag rows whose answer probably does not fit its instruction.

    Parameters
    ----------
    rows : LabelledRows
        Labels are `[rows, 4]`, predictions as `labels.answers` says.
    references : References or None
        The planted ones have a wrong answer.
    settings : FlagSettings
    """
    tables, about = (rows.familiar, rows.mirrored), ABOUT_ANSWERS.format(MOST_SHOWN)
    known = None
    if references is not None and references.are_enough:
        planted, trusted = references.planted, (references.base, references.mirrored)
        pairs = [_fitted(*pair, planted) for pair in zip(tables, trusted, strict=True)]
        signals, of_trusted = (np.stack(parts, axis=1) for parts in zip(*pairs, strict=True))
        known = of_trusted, planted
    else:
        signals = np.stack([_unrelated(table) for table in tables], axis=1)
    given = rows.shown(rows.labels)
    flags = flag_by_the_most_doubtful(
        rows.ids,
        given,
        {},
        signals,
        known,
        np.stack([rows.own[:, AFTER], rows.mirrored[:, AFTER]], axis=1).astype(np.float64),
        lambda share: _named(rows, given, signals @ [1 - share, share]),
        about,
        settings,
    )
    if rows.crosswise is None:
        return flags
    count = 0 if references is None else len(references.planted)
    return replace(flags, method=f"{LEFT_OUT.format(count)} {about}")


def _unrelated(table: Table) -> Values:
    """Return the log odds that an answer has nothing to do with its instruction, nats."""
    return np.asarray((table[:, AFTER] - table[:, ALONE]) * table[:, COUNT], dtype=np.float64)


def features(table: Table) -> Values:
    """Return what an answer is judged by, `[rows, features]`.

    Parameters
    ----------
    table : `[rows, WIDTH]`
    """
    values = np.asarray(table, dtype=np.float64)
    after, alone, count = values[:, AFTER], values[:, ALONE], np.maximum(values[:, COUNT], 1)
    each = [after - alone, (after - alone) * np.sqrt(count), after, values[:, END], np.log(count)]
    return np.column_stack([*each, values[:, HINDERED], values[:, SURPRISE]])


def _fitted(table: Table, trusted: Table, planted: NDArray[np.bool_]) -> tuple[Values, Values]:
    """Return the log odds against each row, and each reference by a fit without it, nats."""
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=RIDGE, max_iter=1000))
    known = features(trusted)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    of_trusted = cross_val_predict(judge, known, planted, cv=folds, method="decision_function")
    return judge.fit(known, planted).decision_function(features(table)), of_trusted


def _named(rows: LabelledRows, given: NDArray[np.object_], doubt: Values) -> Suggestions:
    """Suggest nothing, and name what fits least."""
    notes = [""] * len(given)
    if rows.pieces is not None:
        positions = np.sort(np.argsort(-doubt, kind="stable")[:MOST_SHOWN])
        for position, pieces in zip(positions.tolist(), rows.pieces(positions), strict=True):
            notes[position] = _note(pieces)
    return Suggestions(given.copy(), doubt, notes)


def _note(pieces: Sequence[tuple[str, float, float]]) -> str:
    if not pieces:
        return ""
    hindered = np.array([after - alone for _, after, alone in pieces])
    length = min(STRETCH, len(pieces))
    start = int(np.convolve(hindered, np.ones(length), mode="valid").argmax())
    named = [
        f"“{text.strip()}” {hindered[start + place]:+.1f}"
        for place, (text, _, _) in enumerate(pieces[start : start + length])
        if text.strip()
    ]
    mean = f"{hindered.mean():+.2f}"
    return (
        f"After learning again the instruction changes the loss of the answer's tokens by {mean} "
        f"nats each; it helps least with {', '.join(named)}. No other answer is suggested."
    )

"""Mislabel flags for grades: a grade that is two steps off weighs more than one that is one off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.label_errors import judge_signals
from dataaudit.flags.noise_model import assumed_log_odds
from dataaudit.flags.parts import Parts
from dataaudit.flags.probabilities import Labels, Table, Values, checked_table, pick, row_blocks
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings, flagged_table, flags_of, largest_groups

ABOUT_GRADES = (
    "What a model gives to another grade counts as many times as that grade is steps away from the "
    "given one."
)


def flag_grades(
    rows: LabelledRows, references: References | None, settings: FlagSettings = DEFAULTS
) -> MislabelFlags:
    """Flag rows whose grade is probably wrong.

    Parameters
    ----------
    rows : LabelledRows
        Labels are int64 class indices `[rows]` in the order of the grades, predictions are
        probabilities `[rows, C]`.
    references : References or None
    settings : FlagSettings
    """
    given = rows.labels
    known, discount = None, None
    if references is not None and references.are_enough:
        found = grade_signals(references.given_labels, references.base, references.mirrored)
        known = found, references.planted
        discount = 1.0 if references.learned_together else None
    groups = largest_groups(settings.row_groups)
    parts = Parts(len(given), given, len(rows.classes), list(groups.values()))
    judgement = judge_signals(
        grade_signals(given, rows.familiar, rows.mirrored),
        known,
        lambda: assumed_log_odds(rows.mirrored, given),
        target_precision=settings.target_precision,
        budget=settings.budget,
        parts=parts,
        seed=settings.seed,
        discount=discount,
    )
    blocks = list(row_blocks(len(given), len(rows.classes)))
    suggested = np.concatenate([_likeliest_other(given[b], rows.mirrored[b]) for b in blocks])
    columns = pd.concat(
        [_columns(given[block], rows.own[block], rows.mirrored[block]) for block in blocks],
        ignore_index=True,
    )
    flags = flags_of(
        flagged_table(rows.ids, rows.shown(given), rows.shown(suggested), judgement),
        columns,
        judgement,
        settings,
        [str(name) for name in rows.classes],
        parts,
    )
    return replace(
        flags,
        method=f"{flags.method} {ABOUT_GRADES}",
        notes=_notes([str(name) for name in rows.classes], given, suggested),
    )


def grade_signals(given: Labels, base: Table, mirrored: Table) -> Values:
    """Return how much speaks against each grade, `[rows, 2]`, nats, higher = more suspicious.

    As `label_signals`, but for the steps: the log ratio of the other grades' probabilities, each
    times its steps from the given grade and as the length of their vector, to the given one's.

    Parameters
    ----------
    given : int64 `[rows]`
    base, mirrored : `[rows, C]`
        The first column is `base`'s.
    """
    return np.concatenate(
        [
            np.stack([_suspicion(given[rows], table[rows]) for table in (base, mirrored)], axis=1)
            for rows in row_blocks(*base.shape)
        ]
    )


def _suspicion(given: Labels, probabilities: Table) -> Values:
    table = checked_table("probabilities", probabilities)
    off = np.linalg.norm(_steps(given, table) * table, axis=1)
    return np.asarray(np.log(off) - np.log(pick(table, given)))


def _steps(given: Labels, table: Table) -> NDArray[np.int64]:
    return np.abs(np.arange(table.shape[1]) - given[:, None])


def _columns(given: Labels, own: Table, mirrored: Table) -> pd.DataFrame:
    """Return the parts, each with higher = more suspicious; losses in nats."""
    tables = [checked_table("probabilities", table) for table in (own, mirrored)]
    own_loss, mirrored_loss = (-np.log(pick(table, given)) for table in tables)
    return pd.DataFrame(
        {
            "mirrored_influence": mirrored_loss - own_loss,
            "mirrored_loss": mirrored_loss,
            "loss": own_loss,
            "expected_steps": (_steps(given, mirrored) * mirrored).sum(axis=1),
        }
    )


def _likeliest_other(given: Labels, mirrored: Table) -> Labels:
    others = np.array(mirrored)
    others[np.arange(len(given)), given] = -1
    return others.argmax(axis=1)


def _notes(names: Sequence[str], given: Labels, suggested: Labels) -> list[str]:
    return [
        f"After learning again the model expects {names[new]}, {abs(new - old)} "
        f"{'step' if abs(new - old) == 1 else 'steps'} from {names[old]}."
        for old, new in zip(given.tolist(), suggested.tolist(), strict=True)
    ]

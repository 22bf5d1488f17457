"""Mislabel flags for preferences: swapped pairs, which are wrong labels of two sides."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings


def flag_preferences(
    rows: LabelledRows, references: References | None, settings: FlagSettings = DEFAULTS
) -> MislabelFlags:
    """Flag pairs of answers whose better answer is probably the other one.

    Nothing is said of single sides: which answer stands on which says nothing of it.

    Parameters
    ----------
    rows : LabelledRows
        Labels are int64 sides `[rows]`, predictions are probabilities `[rows, 2]`.
    references : References or None
    settings : FlagSettings
    """
    flags = flag_mislabels(rows, references, settings)
    return replace(
        flags, noise_per_class=flags.noise_per_class.iloc[:0], noise_table=pd.DataFrame()
    )

"""The flagging stage: scores in, flagged rows and pairs out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dataaudit.config import FlagConfig
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.results import MislabelFlags
from dataaudit.loading import Loaded
from dataaudit.mirror.plan import Plan
from dataaudit.scoring import Scores


def find_mislabels(
    loaded: Loaded, plan: Plan, scores: Scores, settings: FlagConfig
) -> MislabelFlags:
    """Flag training rows that are probably mislabeled."""
    labels = base = mirrored = None
    if loaded.held_out is not None and scores.held_out is not None:
        kept_back = plan.split.kept_back
        labels = loaded.held_out.labels[kept_back]
        base = scores.held_out.column("base_probabilities")[kept_back]
        mirrored = scores.held_out.column("mirrored_probabilities")[kept_back]
    return flag_mislabels(
        loaded.train.ids,
        list(loaded.train.classes),
        loaded.train.labels,
        scores.train.column("base_probabilities"),
        scores.train.column("mirrored_probabilities"),
        labels,
        base,
        mirrored,
        target_precision=settings.target_precision,
        budget=settings.budget,
        seed=plan.settings.seed,
    )


def no_pairs(loaded: Loaded) -> pd.DataFrame:
    """Return the table of contamination without a line."""
    return pd.DataFrame(
        {
            "query_id": np.zeros(0, dtype=object),
            "row_id": loaded.train.ids[:0],
            "rank": np.zeros(0, dtype=np.int64),
            "score": np.zeros(0),
            "p_value": np.zeros(0),
            "flagged": np.zeros(0, dtype=bool),
        }
    )

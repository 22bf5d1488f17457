"""The flagging stage: scores in, flagged rows and pairs out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dataaudit.config import AuditConfig
from dataaudit.flags.label_evidence import ReferenceRows
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.results import MislabelFlags
from dataaudit.loading import Loaded
from dataaudit.mirror.relearn import Mirror
from dataaudit.scoring import FAMILIAR, ITSELF, RELEARNED, Scores


def find_mislabels(
    loaded: Loaded, mirror: Mirror, scores: Scores, config: AuditConfig
) -> MislabelFlags:
    """Flag training rows that are probably mislabeled."""
    references = None
    if mirror.references is not None and scores.held_out is not None:
        pool = mirror.references.pool
        references = ReferenceRows(
            given_labels=pool.labels,
            planted=mirror.references.planted,
            base_probabilities=scores.held_out.predictions(FAMILIAR)[pool.positions],
            mirrored_probabilities=scores.held_out.predictions(RELEARNED)[pool.positions],
        )
    return flag_mislabels(
        loaded.train.ids,
        list(loaded.train.classes),
        loaded.train.labels,
        scores.train.predictions(ITSELF),
        scores.train.predictions(FAMILIAR),
        scores.train.predictions(RELEARNED),
        references,
        target_precision=config.flags.target_precision,
        budget=config.flags.budget,
        row_groups=loaded.train.groups() if loaded.train.group_column else None,
        seed=config.mirror.seed,
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

"""Composition: how many rows of each class, label or range of targets each split holds."""

from __future__ import annotations

import pandas as pd

from dataaudit.datasets.samples import Samples
from dataaudit.inputs import Splits


def composition(loaded: Splits) -> pd.DataFrame:
    """Return `split`, `class`, `rows`.

    Of label sets and tags, a row counts for each label that it carries; of regression targets, a
    class is a range between quartiles of the training rows' targets.
    """
    splits = [s for s in (loaded.train, loaded.held_out, loaded.suspects) if s is not None]
    lines = [
        {"split": samples.role, "class": name, "rows": count}
        for samples in splits
        if samples.labelled
        for name, count in samples.kind.counts(samples.labels, samples.classes, loaded.train.labels)
    ]
    return pd.DataFrame(lines, columns=["split", "class", "rows"])


def missing_values(samples: Samples, block: int = 4096) -> dict[str, int] | None:
    """Return, per column of a table, how many rows have no value; None where rows are no table.

    Columns without a missing value are left out.
    """
    if samples.modality != "table":
        return None
    totals: dict[str, int] = {}
    special = samples.special_columns()
    for batch in samples.batches(block):
        frame = batch.frame
        for name in [name for name in frame.columns if name not in special]:
            totals[str(name)] = totals.get(str(name), 0) + int(frame[name].isna().sum())
    return {name: count for name, count in totals.items() if count}

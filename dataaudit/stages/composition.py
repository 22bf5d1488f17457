"""Composition: how many rows of each class, label or range of targets each split holds."""

from __future__ import annotations

import pandas as pd

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

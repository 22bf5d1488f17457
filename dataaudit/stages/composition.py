"""Composition: how many rows of each class, label or range of targets each split holds."""

from __future__ import annotations

from typing import Any

import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples
from dataaudit.inputs import Splits


def composition(loaded: Splits) -> pd.DataFrame:
    """Return `split`, `class`, `rows`.

    Of label sets and tags, a row counts for each label that it carries; of regression targets, a
    class is a range between quartiles of the training rows' targets. Labels that cannot be used,
    which nobody sets aside where there is no model, are not counted.
    """
    usable = _usable(loaded.train)
    splits = [s for s in (loaded.train, loaded.held_out, loaded.suspects) if s is not None]
    lines = [
        {"split": samples.role, "class": name, "rows": count}
        for samples in splits
        if samples.labelled
        for name, count in samples.kind.counts(_usable(samples), samples.classes, usable)
    ]
    return pd.DataFrame(lines, columns=["split", "class", "rows"])


def _usable(samples: Samples) -> NDArray[Any]:
    return samples.labels[samples.kind.usable(samples.labels, samples.classes)]

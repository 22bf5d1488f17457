"""Other splits read as the training set is: the same columns, or none of the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dataaudit.datasets.memory import ArrayPair, Pairs
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.set_aside import ROWS_PER_READ
from dataaudit.errors import DataError, close_match
from dataaudit.labels.tags import NOT_JUDGED
from dataaudit.labels.values import ignored, unusable


def read_like(samples: Samples, train: Samples) -> Samples:
    """Return the samples with the content where training rows have it.

    What a column is, is decided by the training set: a further column must not turn texts into a
    table. Where samples lack the column, their own of the same kind is read.

    Raises
    ------
    DataError
        They lack the column and have none of the kind.
    """
    if train.modality in ("table", "tensor"):
        return samples
    columns = samples.take([0]).frame.columns
    if train.content_column in columns:
        return replace(samples, modality=train.modality, content_column=train.content_column)
    if samples.modality == train.modality:
        return samples
    kind = {"text": "texts", "image": "images"}[train.modality]
    raise DataError(
        f"{samples.source.description}: no column {train.content_column!r}, which holds the {kind} "
        f"of the training rows; the columns are {', '.join(map(repr, columns[:20]))}"
    )


def open_suspects(
    opened: Callable[[ReadSettings], Samples], settings: ReadSettings, train: Samples
) -> Samples:
    """Open samples that may have no labels, as public test sets: leaks are found all the same.

    They have none where there is no such column, and where it holds nothing, or one value that is
    no class, in all rows. A column that is merely spelled otherwise is refused as ever.
    """
    try:
        samples = opened(settings)
    except DataError:
        bare = opened(replace(settings, label=None))
        if isinstance(bare.source, Pairs):
            # Labels of pairs stand in no column.
            nothing = isinstance(bare.source.pairs, ArrayPair) and bare.source.pairs.labels is None
        else:
            nothing = bool(settings.label_columns) and _says_nothing(bare, settings)
        if not nothing:
            raise
        return _without_labels(bare, train)
    if (unusable(samples.labels) | ignored(samples.labels)).all():
        return _without_labels(samples, train)
    return samples


def _says_nothing(samples: Samples, settings: ReadSettings) -> bool:
    """Tell whether no row has a label."""
    names = [str(name) for name in samples.take([0]).frame.columns]
    for name in settings.label_columns:
        if name not in names:
            # One column of all names is a file read with the wrong separator.
            return close_match(name, names) is None and (len(names) > 1 or names[0].isidentifier())
    classes = {str(name) for name in settings.classes or ()}
    for name in settings.label_columns:
        found: set[str] = set()
        for frame in samples.source.frames(ROWS_PER_READ):
            values = [value for value in frame[name].tolist() if not _absent(value)]
            found.update(map(str, values))
            if len(found) > 1 or found & classes or (found and not settings.kind.has_classes):
                return False
    return True


def _absent(value: Any) -> bool:
    return (
        value is None
        or value is pd.NA
        or value == ""
        or (isinstance(value, float) and value != value)
    )


def _without_labels(samples: Samples, train: Samples) -> Samples:
    """Return labels of the training rows' kind that say nothing."""
    shape = (len(samples), *train.labels.shape[1:])
    nothing = NOT_JUDGED if train.kind.per_word else 0
    return replace(
        samples,
        labels=np.full(shape, nothing, dtype=train.labels.dtype),
        classes=train.classes,
        label_column=train.label_column,
        label_columns=train.label_columns,
        labelled=False,
    )

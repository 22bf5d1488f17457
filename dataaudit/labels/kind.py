"""Labels read as the task asks, from one column, from several, or where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.read_settings import TOKENS, ReadSettings
from dataaudit.datasets.samples import Source
from dataaudit.errors import DataError
from dataaudit.labels.classes import class_indices, targets
from dataaudit.labels.sets import sets_of_columns, sets_of_values
from dataaudit.labels.tags import tags_of_values

Labels = tuple[NDArray[Any], Sequence[str | int]]
"""The labels of all rows, as `Samples.labels` has them, and the classes."""


def labels_of_values(
    values: pd.Series,
    ids: NDArray[Any],
    where: str,
    settings: ReadSettings,
    class_names: Sequence[str] | None,
) -> Labels:
    """Return labels and classes of one column, or of the labels of pairs.

    Parameters
    ----------
    values : pandas.Series `[n]`
        The labels as the data has them.
    ids : `[n]`
        The row ids, for errors.
    where : str
        The source and the column, for errors.
    settings : ReadSettings
    class_names : sequence of str or None
        The names the data stores for its classes, in its order.

    Raises
    ------
    DataError
        A label is missing or is no class, unless that is tolerated.
    """
    if settings.task == "regression":
        read = targets(values, ids, where=where, tolerate=settings.tolerate, ignore=settings.ignore)
        return read, []
    if settings.task == "multi-label":
        return sets_of_values(
            values,
            ids,
            where=where,
            classes=settings.classes,
            separator=settings.separator,
            ignore=settings.ignore,
            tolerate=settings.tolerate,
        )
    if settings.task == TOKENS:
        return tags_of_values(
            values,
            ids,
            where=where,
            classes=settings.classes or settings.output_names,
            ignore=settings.ignore,
            tolerate=settings.tolerate,
        )
    if settings.task == "classification":
        classes, names = settings.classes, class_names
        if settings.output_names is not None and classes in (None, settings.output_names):
            classes = settings.output_names
            # Names that are numbers themselves (stars from "1" to "5") are matched as they are.
            if names is None and not any(name.lstrip("-").isdigit() for name in classes):
                names = classes
        return class_indices(
            values,
            ids,
            where=where,
            classes=classes,
            names=names,
            tolerate=settings.tolerate,
            ignore=settings.ignore,
        )
    raise ValueError(f"task: no labels are read for {settings.task!r}")


def labels_of_columns(
    table: pd.DataFrame, ids: NDArray[Any], where: str, settings: ReadSettings
) -> Labels:
    """Return the label sets of 0/1 columns; the classes are their names, or as the caller has them.

    Raises
    ------
    DataError
        There are more or fewer classes than columns; a value is neither 0 nor 1.
    """
    if settings.classes is not None and len(settings.classes) != table.shape[1]:
        raise DataError(
            f"{where}: {table.shape[1]} label columns, but classes: names "
            f"{len(settings.classes)}; expected as many, in the same order"
        )
    members = sets_of_columns(
        table, ids, where=where, ignore=settings.ignore, tolerate=settings.tolerate
    )
    return members, list(table.columns) if settings.classes is None else list(settings.classes)


def no_labels(source: Source) -> Labels:
    """Return a label 0 for each row, and no classes."""
    return np.zeros(len(source), dtype=np.int64), []

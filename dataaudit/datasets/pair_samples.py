"""Pairs of an input and a label as samples: a torch data set, or two arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from dataaudit.datasets.identifiers import positions
from dataaudit.datasets.memory import INPUT, Pairs
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError


def pair_samples(source: Pairs, settings: ReadSettings, class_names: Any = None) -> Samples:
    """Return the samples of pairs, which are all read once.

    Parameters
    ----------
    source : Pairs
    settings : ReadSettings
    class_names : anything
        Used where it is a list of text: the names of the classes that the labels number.

    Raises
    ------
    DataError
        There are no rows; a column is asked for; an item is no pair; a label is no class.
    """
    ids = positions(source)
    for purpose, column, hint in (
        ("id", settings.id_column, ", their ids are positions"),
        ("group", settings.group_column, ""),
    ):
        if column is not None:
            raise DataError(
                f"{source.description}: no {purpose} column {column!r}; pairs (input, label) have "
                f"no columns{hint}"
            )
    if settings.kind.per_pixel:
        source = replace(source, whole=True)
    if settings.kind.read_columns is not None:
        source = replace(source, several=True)
    values, sha256 = source.read()
    reading = settings.reading(class_names if _all_text(class_names) else None)
    where = f"{source.description}: labels"
    labels, classes = settings.kind.read(pd.Series(values, dtype=object), ids, where, reading)
    return Samples(
        role=settings.role,
        source=source,
        ids=ids,
        labels=labels,
        classes=classes,
        label_column=None,
        id_column=None,
        modality="tensor",
        content_column=INPUT,
        sha256=sha256,
        ignore_label=settings.ignore,
        task=settings.task,
    )


def _all_text(names: Any) -> bool:
    return isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)

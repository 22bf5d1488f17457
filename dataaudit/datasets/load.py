"""A path or an object in memory as `Samples`: recognised, checked, ids and labels read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dataaudit.datasets.column_samples import column_samples
from dataaudit.datasets.formats import open_source
from dataaudit.datasets.hugging_face import InMemory, is_data_set
from dataaudit.datasets.inputs_and_labels import is_pair, joined, without_labels
from dataaudit.datasets.memory import Frame, Pairs, data_set_of, is_loader
from dataaudit.datasets.pair_samples import pair_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError


def open_samples(path: Path, settings: ReadSettings) -> Samples:
    """Open a file or folder of samples and check its ids and labels.

    Parameters
    ----------
    path : Path
        A file of a known kind (`dataaudit.datasets.formats`), an image folder
        (`folder/class_name/*.png`), a folder written by Hugging Face `save_to_disk`, or shards
        (`shard_paths`).
    settings : ReadSettings

    Raises
    ------
    DataError
        When the path is missing or of no known kind; the file is damaged or has no rows; a
        column is missing; an id is missing or repeated; a label is missing or is no class. Rows
        are counted from 0 in messages, lines from 1.
    """
    return column_samples(open_source(path, tolerate=settings.tolerate), settings)


def samples_from_object(obj: Any, settings: ReadSettings) -> Samples:
    """Take an object in memory as samples and check its ids and labels.

    Parameters
    ----------
    obj : pandas.DataFrame, datasets.Dataset, torch Dataset of (input, label), a DataLoader of one,
        or (X, y) of anything that has rows (see `inputs_and_labels`)
        Of pairs, the rows are frames with the one column `input`, which holds the inputs as they
        are; `label` is not used then, and the ids are positions. A list `classes` of the data
        set (as torchvision has it) names the classes that its labels number.
    settings : ReadSettings

    Raises
    ------
    DataError
        As `open_samples`, and when the object is of no known kind.
    """
    role = settings.role
    description = f"{role} ({type(obj).__name__})"
    if isinstance(obj, pd.DataFrame):
        return column_samples(Frame(description, obj), settings)
    if is_data_set(obj):
        return column_samples(InMemory.open(obj, description), settings)
    if settings.answers is not None or settings.instruction is not None:
        columns = "chosen and rejected answers" if settings.answers else "instructions and answers"
        raise DataError(
            f"{role}: expected a pandas DataFrame or a Hugging Face Dataset with columns of "
            f"{columns} (task {settings.task}), found {type(obj).__name__}"
        )
    alone = None if is_pair(obj) else without_labels(obj, role)
    if alone is not None:
        obj = (alone, None)
    if alone is not None or is_pair(obj):
        joined_source, settings = joined(obj, settings)
        if isinstance(joined_source, Pairs):
            return pair_samples(joined_source, settings)
        return column_samples(joined_source, settings)
    if is_loader(obj):
        obj = data_set_of(obj, role)
    is_pairs = hasattr(obj, "__getitem__") and hasattr(obj, "__len__")
    if is_pairs and not isinstance(obj, str | bytes | Mapping):
        return pair_samples(Pairs(description, obj), settings, getattr(obj, "classes", None))
    hint = "; pass one of its values" if isinstance(obj, Mapping) else ""
    if hasattr(obj, "__next__") or (hasattr(obj, "__iter__") and not hasattr(obj, "__len__")):
        hint = ", which can be read only once, or in no fixed order; pass list(...) of it"
    raise DataError(
        f"{role}: expected a pandas DataFrame, a Hugging Face Dataset, a torch Dataset with a"
        f" length, or a pair of arrays (X, y), found {type(obj).__name__}{hint}"
    )

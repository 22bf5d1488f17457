"""A path or an object in memory as `Samples`: recognised, checked, ids and labels read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from dataaudit.datasets.arrow_ipc import ArrowFiles
from dataaudit.datasets.column_samples import column_samples
from dataaudit.datasets.files import sha256_of
from dataaudit.datasets.hugging_face import (
    InMemory,
    class_names,
    is_data_set,
    saved_class_names,
    saved_files,
)
from dataaudit.datasets.image_folder import ImageFolder
from dataaudit.datasets.inputs_and_labels import is_pair, joined
from dataaudit.datasets.memory import Frame, Pairs, data_set_of, is_loader
from dataaudit.datasets.opening import open_source
from dataaudit.datasets.pair_samples import pair_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.shards import KEY, TarShards
from dataaudit.errors import DataError


def open_samples(path: Path, settings: ReadSettings) -> Samples:
    """Open a file or folder of samples and check its ids and labels.

    Parameters
    ----------
    path : Path
        A file of a known kind (`dataaudit.datasets.opening`), an image folder
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
    source = open_source(path, tolerate=settings.tolerate)
    if isinstance(source, ImageFolder):
        names = source.class_names
        return column_samples(source, source.sha256(), settings, folder=path, class_names=names)
    if isinstance(source, TarShards):
        keyed = settings if settings.id_column is not None else replace(settings, id_column=KEY)
        return column_samples(source, sha256_of(source.paths, str(path)), keyed)
    if isinstance(source, ArrowFiles) and path.is_dir():
        sha256 = sha256_of(saved_files(path, source), str(path))
        first = next(iter(settings.label_columns), None)
        stored = None if first is None else saved_class_names(path, first, str(path))
        return column_samples(source, sha256, settings, folder=path, class_names=stored)
    return column_samples(source, sha256_of([path], str(path)), settings, folder=path.parent)


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
        return column_samples(Frame(description, obj), None, settings)
    if is_data_set(obj):
        source = InMemory.open(obj, description)
        first = next(iter(settings.label_columns), None)
        names = None if first is None else class_names(obj, first)
        return column_samples(source, None, settings, class_names=names)
    if is_pair(obj):
        joined_source, settings = joined(obj, settings)
        if isinstance(joined_source, Pairs):
            return pair_samples(joined_source, settings)
        return column_samples(joined_source, None, settings)
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

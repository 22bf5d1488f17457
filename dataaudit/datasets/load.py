"""A path or an object as `Samples`: recognised, checked, ids and labels read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.arrow_ipc import ArrowFiles
from dataaudit.datasets.files import close_match, sha256_of
from dataaudit.datasets.hashing import ContentHash
from dataaudit.datasets.hugging_face import (
    InMemory,
    class_names,
    is_data_set,
    saved_class_names,
    saved_files,
)
from dataaudit.datasets.identifiers import row_ids
from dataaudit.datasets.image_folder import ImageFolder
from dataaudit.datasets.images import encoded, image_path
from dataaudit.datasets.label_sets import SEPARATOR, sets_of_columns, sets_of_values
from dataaudit.datasets.labels import UNUSABLE, class_indices, targets
from dataaudit.datasets.memory import INPUT, ArrayPair, Frame, Pairs, data_set_of, is_loader
from dataaudit.datasets.modality import ROWS_SEEN, modality_of
from dataaudit.datasets.opening import open_source
from dataaudit.datasets.samples import Role, Samples, Source
from dataaudit.datasets.shards import KEY, TarShards
from dataaudit.datasets.sources import ColumnSource
from dataaudit.datasets.tags import tags_of_values
from dataaudit.datasets.words import is_list, words_column
from dataaudit.errors import DataError

TOKENS = "token-classification"


@dataclass(frozen=True)
class _Asked:
    """What the caller asks of the data; see `open_samples`."""

    role: Role
    label: str | Sequence[str] | None
    id_column: str | None
    group_column: str | None
    classes: Sequence[str | int] | None
    task: str
    tolerate: bool
    ignore: str | int | None
    separator: str
    output_names: Sequence[str] | None

    @property
    def label_columns(self) -> list[str]:
        """The columns that hold labels."""
        return [self.label] if isinstance(self.label, str) else list(self.label or [])


def open_samples(
    path: Path,
    *,
    role: Role,
    label: str | Sequence[str] | None,
    id_column: str | None,
    classes: Sequence[str | int] | None,
    task: str,
    group_column: str | None = None,
    tolerate: bool = False,
    ignore: str | int | None = None,
    separator: str = SEPARATOR,
    output_names: Sequence[str] | None = None,
) -> Samples:
    """Open a file or folder of samples and check its ids and labels.

    Parameters
    ----------
    path : Path
        A file of a known kind (`dataaudit.datasets.opening`), an image folder
        (`folder/class_name/*.png`), a folder written by Hugging Face `save_to_disk`, or shards
        (`shard_paths`).
    role : "train", "held_out" or "suspects"
    label : str, sequence of str, or None
        The column that holds the labels; of an image folder, `label`. For task multi-label also
        several columns, each 0 or 1, one for each label. None: there are none, and all labels
        are 0.
    id_column : str or None
        The column that holds the row ids. Without one, the ids are the positions 0, 1, 2, …,
        even where a column happens to be called `row_id`: only what is named is relied on. Shards
        have keys of their own, which are the ids then.
    classes : sequence of str or int, or None
        The label values in the order of the model's outputs. May be None where labels are the
        numbers 0..C-1, or where the data itself names its classes: the sorted folders of an
        image folder, the ClassLabel of a Hugging Face data set.
    task : "classification", "regression", "multi-label" or "token-classification"
        What the labels are, where there are any.
    group_column : str or None
        The column that tells which rows belong together, such as the patient; not a feature.
    tolerate : bool
        Whether rows that cannot be used are left to be set aside: a label that is missing or is
        no class is `UNUSABLE` then, and a path may lead to no image.
    ignore : str, int or None
        The label value that says that a row is not to be judged.
    separator : str
        Between the labels of a text, for task multi-label.
    output_names : sequence of str or None
        The names that the model has for its outputs, in their order: labels may be these names,
        or the numbers 0..C-1. They are used where `classes` is None.

    Raises
    ------
    DataError
        When the path is missing or of no known kind; the file is damaged or has no rows; a
        column is missing; an id is missing or repeated; a label is missing or is no class. Rows
        are counted from 0 in messages, lines from 1.
    """
    asked = _Asked(
        role,
        label,
        id_column,
        group_column,
        classes,
        task,
        tolerate,
        ignore,
        separator,
        output_names,
    )
    source = open_source(path, tolerate=tolerate)
    if isinstance(source, ImageFolder):
        sha256, names = source.sha256(), source.class_names
        return _column_samples(source, sha256, asked, folder=path, class_names=names)
    if isinstance(source, TarShards):
        keyed = asked if id_column is not None else replace(asked, id_column=KEY)
        return _column_samples(source, sha256_of(source.paths, str(path)), keyed)
    if isinstance(source, ArrowFiles) and path.is_dir():
        sha256 = sha256_of(saved_files(path, source), str(path))
        first = next(iter(asked.label_columns), None)
        stored = None if first is None else saved_class_names(path, first, str(path))
        return _column_samples(source, sha256, asked, folder=path, class_names=stored)
    return _column_samples(source, sha256_of([path], str(path)), asked, folder=path.parent)


def samples_from_object(
    obj: Any,
    *,
    role: Role,
    label: str | Sequence[str] | None,
    id_column: str | None,
    classes: Sequence[str | int] | None,
    task: str,
    group_column: str | None = None,
    tolerate: bool = False,
    ignore: str | int | None = None,
    separator: str = SEPARATOR,
    output_names: Sequence[str] | None = None,
) -> Samples:
    """Take an object in memory as samples and check its ids and labels.

    Parameters
    ----------
    obj : pandas.DataFrame, datasets.Dataset, torch Dataset of (input, label), a DataLoader of one,
        or (X, y) arrays
        Of pairs, the rows are frames with the one column `input`, which holds the inputs as they
        are; `label` is not used then, and the ids are positions. A list `classes` of the data
        set (as torchvision has it) names the classes that its labels number.
    role, label, id_column, classes, task, group_column, tolerate, ignore, separator, output_names
        As in `open_samples`.

    Raises
    ------
    DataError
        As `open_samples`, and when the object is of no known kind.
    """
    asked = _Asked(
        role,
        label,
        id_column,
        group_column,
        classes,
        task,
        tolerate,
        ignore,
        separator,
        output_names,
    )
    description = f"{role} ({type(obj).__name__})"
    if isinstance(obj, pd.DataFrame):
        return _column_samples(Frame(description, obj), None, asked)
    if is_data_set(obj):
        source = InMemory.open(obj, description)
        first = next(iter(asked.label_columns), None)
        names = None if first is None else class_names(obj, first)
        return _column_samples(source, None, asked, class_names=names)
    if isinstance(obj, tuple) and len(obj) == 2 and all(hasattr(part, "shape") for part in obj):
        inputs, labels = obj
        if len(inputs) != len(labels):
            raise DataError(
                f"{role}: expected as many labels as inputs, found {len(inputs)} inputs and"
                f" {len(labels)} labels"
            )
        return _pair_samples(Pairs(f"{role} (X, y)", ArrayPair(inputs, labels)), asked, None)
    if is_loader(obj):
        obj = data_set_of(obj, role)
    is_pairs = hasattr(obj, "__getitem__") and hasattr(obj, "__len__")
    if is_pairs and not isinstance(obj, str | bytes | Mapping):
        names = getattr(obj, "classes", None)
        return _pair_samples(Pairs(description, obj), asked, names if _all_text(names) else None)
    hint = "; pass one of its values" if isinstance(obj, Mapping) else ""
    raise DataError(
        f"{role}: expected a pandas DataFrame, a Hugging Face Dataset, a torch Dataset with a"
        f" length, or a pair of arrays (X, y), found {type(obj).__name__}{hint}"
    )


def _column_samples(
    source: ColumnSource,
    sha256: str | None,
    asked: _Asked,
    *,
    folder: Path | None = None,
    class_names: Sequence[str] | None = None,
) -> Samples:
    """Return the samples of a source with columns.

    Parameters
    ----------
    sha256 : str or None
        Hash of the files; None for what is in memory, which is hashed by its values.
    folder : Path or None
        What image paths in a column are relative to.
    class_names : sequence of str or None
        The names the data stores for its classes, in its order.
    """
    _require_rows(source)
    for name in asked.label_columns:
        _require_column(source, name, "label")
    if asked.id_column is not None:
        _require_column(source, asked.id_column, "id")
    if asked.group_column is not None:
        _require_column(source, asked.group_column, "group")
    special = (*asked.label_columns, asked.id_column, asked.group_column)
    own = [name for name in source.columns() if name in special]
    known = pd.concat(list(source.stream(own)), ignore_index=True) if own else pd.DataFrame()
    ids = _positions(source)
    if asked.id_column is not None:
        where = f"{source.description}: column {asked.id_column!r}"
        ids = row_ids(known[asked.id_column], where=where)
    if asked.label is None:
        labels, classes = _no_labels(source)
    elif isinstance(asked.label, str):
        where = f"{source.description}: column {asked.label!r}"
        labels, classes = _labels(known[asked.label], ids, where, asked, class_names)
    else:
        labels, classes = _label_columns(known[asked.label_columns], ids, source, asked)

    features = [name for name in source.columns() if name not in own]
    first_rows = next(source.frames(ROWS_SEEN))
    modality, content_column = modality_of(first_rows, features, folder)
    if asked.task == TOKENS and isinstance(asked.label, str):
        words = words_column(first_rows, features, known[asked.label])
        if words is not None:
            modality, content_column = "text", words
            _check_words(source, words, known[asked.label], ids, labels, asked.tolerate)
    if sha256 is None:
        sha256 = _hash_of(source.stream())
    elif (
        folder is not None
        and content_column is not None
        and modality == "image"
        # A column of bytes names no files.
        and not any(isinstance(value, bytes) for value in first_rows[content_column])
    ):
        sha256 = _hash_with_images(sha256, source, content_column, folder, asked.tolerate)
    return Samples(
        role=asked.role,
        source=source,
        ids=ids,
        labels=labels,
        classes=classes,
        label_column=asked.label if isinstance(asked.label, str) else None,
        label_columns=() if isinstance(asked.label, str) else asked.label_columns,
        separator=asked.separator,
        ignore_label=asked.ignore,
        id_column=asked.id_column,
        modality=modality,
        content_column=content_column,
        sha256=sha256,
        folder=folder,
        group_column=asked.group_column,
        tagged=asked.task == TOKENS and asked.label is not None,
    )


def _pair_samples(source: Pairs, asked: _Asked, class_names: Sequence[str] | None) -> Samples:
    """Return the samples of a torch data set or a pair of arrays."""
    _require_rows(source)
    if asked.id_column is not None:
        raise DataError(
            f"{source.description}: no id column {asked.id_column!r}; pairs (input, label) have no"
            " columns, their ids are positions"
        )
    if asked.group_column is not None:
        raise DataError(
            f"{source.description}: no group column {asked.group_column!r}; pairs (input, label) "
            "have no columns"
        )
    values, sha256 = source.read()
    ids = _positions(source)
    where = f"{source.description}: labels"
    labels, classes = _no_labels(source)
    if asked.label is not None:
        labels, classes = _labels(pd.Series(values, dtype=object), ids, where, asked, class_names)
    return Samples(
        role=asked.role,
        source=source,
        ids=ids,
        labels=labels,
        classes=classes,
        label_column=None,
        id_column=None,
        modality="tensor",
        content_column=INPUT,
        sha256=sha256,
        ignore_label=asked.ignore,
        tagged=asked.task == TOKENS and asked.label is not None,
    )


def _labels(
    values: pd.Series,
    ids: NDArray[Any],
    where: str,
    asked: _Asked,
    class_names: Sequence[str] | None,
) -> tuple[NDArray[Any], Sequence[str | int]]:
    if asked.task == "regression":
        read = targets(values, ids, where=where, tolerate=asked.tolerate, ignore=asked.ignore)
        return read, []
    if asked.task == "multi-label":
        return sets_of_values(
            values,
            ids,
            where=where,
            classes=asked.classes,
            separator=asked.separator,
            ignore=asked.ignore,
            tolerate=asked.tolerate,
        )
    if asked.task == TOKENS:
        return tags_of_values(
            values,
            ids,
            where=where,
            classes=asked.classes or asked.output_names,
            ignore=asked.ignore,
            tolerate=asked.tolerate,
        )
    if asked.task == "classification":
        classes, names = asked.classes, class_names
        if asked.output_names is not None and classes in (None, asked.output_names):
            classes = asked.output_names
            # Names that are numbers themselves (stars from "1" to "5") are matched as they are.
            if names is None and not any(name.lstrip("-").isdigit() for name in classes):
                names = classes
        return class_indices(
            values,
            ids,
            where=where,
            classes=classes,
            names=names,
            tolerate=asked.tolerate,
            ignore=asked.ignore,
        )
    raise ValueError(f"task: no labels are read for {asked.task!r}")


def _check_words(
    source: ColumnSource,
    column: str,
    tags: pd.Series,
    ids: NDArray[Any],
    labels: NDArray[Any],
    tolerate: bool,
) -> None:
    """Refuse rows with more or fewer words than tags, or mark them in `labels`."""
    row = 0
    for frame in source.stream([column]):
        for words in frame[column]:
            own = tags.iloc[row]
            count = len(words) if is_list(words) else 0
            if is_list(own) and count != len(own):
                if not tolerate:
                    raise DataError(
                        f"{source.description}: row {row} (id {ids[row]}): found {len(own)} tags "
                        f"for {count} words in column {column!r}; expected one for each word"
                    )
                labels[row] = UNUSABLE
            row += 1


def _label_columns(
    table: pd.DataFrame, ids: NDArray[Any], source: Source, asked: _Asked
) -> tuple[NDArray[Any], Sequence[str | int]]:
    """Read labels from several columns; the classes are their names, or as the caller has them."""
    if asked.classes is not None and len(asked.classes) != table.shape[1]:
        raise DataError(
            f"{source.description}: {table.shape[1]} label columns, but classes: names "
            f"{len(asked.classes)}; expected as many, in the same order"
        )
    members = sets_of_columns(
        table, ids, where=source.description, ignore=asked.ignore, tolerate=asked.tolerate
    )
    return members, list(table.columns) if asked.classes is None else list(asked.classes)


def _no_labels(source: Source) -> tuple[NDArray[Any], Sequence[str | int]]:
    return np.zeros(len(source), dtype=np.int64), []


def _positions(source: Source) -> NDArray[np.int64]:
    return np.arange(len(source), dtype=np.int64)


def _hash_of(frames: Iterator[pd.DataFrame]) -> str:
    content = ContentHash()
    for frame in frames:
        content.add(frame)
    return content.hexdigest()


def _hash_with_images(
    sha256: str, source: ColumnSource, column: str, folder: Path, tolerate: bool
) -> str:
    """Return the hash of a data file together with the images that its paths lead to.

    Raises
    ------
    DataError
        When one of the paths leads nowhere or out of the folder, unless that is tolerated.
    """
    whole = hashlib.sha256(sha256.encode())
    outside = False
    row = 0
    for frame in source.stream([column]):
        for value in frame[column]:
            path = image_path(value)
            if path is not None:
                outside = True
                where = f"{source.description}: column {column!r}: row {row}"
                try:
                    content = encoded(path, where=where, folder=folder)
                except DataError:
                    if not tolerate:
                        raise
                    content = b""
                whole.update(hashlib.sha256(content).digest())
            row += 1
    return whole.hexdigest() if outside else sha256


def _all_text(names: Any) -> bool:
    return isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)


def _require_rows(source: Source) -> None:
    if len(source) == 0:
        raise DataError(f"{source.description}: there are no rows")


def _require_column(source: ColumnSource, name: str, purpose: str) -> None:
    columns = source.columns()
    if name in columns:
        return
    near = close_match(name, [str(column) for column in columns])
    suggestion = f"; did you mean {near!r}?" if near else ""
    separator = next((mark for mark in ";\t|" if len(columns) == 1 and mark in columns[0]), None)
    if separator:
        suggestion = f"; the fields seem to be separated by {separator!r}, expected commas"
    shown = ", ".join(repr(column) for column in columns[:20])
    more = f", ... ({len(columns)} in all)" if len(columns) > 20 else ""
    raise DataError(
        f"{source.description}: no {purpose} column {name!r}; the columns are {shown}{more}"
        f"{suggestion}"
    )

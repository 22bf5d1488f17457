"""Rows of named columns as samples: their ids, labels, modality and hash."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.annotators import with_votes
from dataaudit.datasets.answer_pairs import PAIR, AnswerPairs
from dataaudit.datasets.comma_separated import MISSING
from dataaudit.datasets.hashing import hash_of_rows, hash_with_images
from dataaudit.datasets.identifiers import positions, row_ids
from dataaudit.datasets.images import size_of
from dataaudit.datasets.instructions import INSTRUCTION, Instructions
from dataaudit.datasets.modality import ROWS_SEEN, modality_of
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource
from dataaudit.datasets.words import is_list, words_column
from dataaudit.errors import DataError, close_match
from dataaudit.labels.preferences import BETTER
from dataaudit.labels.values import UNUSABLE
from dataaudit.storage.on_disk import put_away


def column_samples(source: ColumnSource, settings: ReadSettings) -> Samples:
    """Return the samples of a source with columns.

    Parameters
    ----------
    source : ColumnSource
        What is in memory is hashed by its values.
    settings : ReadSettings

    Raises
    ------
    DataError
        There are no rows; a column is missing; an id, a label or an image path cannot be used.
    """
    votes, answers = None, settings.answers
    if answers is not None:
        pairs = AnswerPairs.over(source, answers)
        source, answers = pairs, pairs.answers
        settings = replace(settings, label=BETTER)
    if settings.instruction is not None:
        column = settings.label if isinstance(settings.label, str) else None
        source = Instructions.over(source, column, settings.instruction)
    ids: NDArray[Any] = positions(source)
    if settings.id_column is None:
        own_column = _usable_id(source, settings.usual_id) or source.key_column()
        settings = replace(settings, id_column=own_column)
    names = source.own_ids()
    if names is not None:
        ids = names
    if settings.annotators is not None:
        source, votes = with_votes(source, settings, ids)
    sha256 = source.sha256()
    folder = settings.images or source.image_root()
    for name in settings.label_columns:
        _require_column(source, name, "label")
    if settings.id_column is not None:
        _require_column(source, settings.id_column, "id")
    if settings.group_column is not None:
        _require_column(source, settings.group_column, "group")
    special = (*settings.label_columns, settings.id_column, settings.group_column)
    if any(str(known) in MISSING for known in settings.classes or ()):
        # A class may be called None; in a column of numbers it would be a missing one.
        for name in settings.label_columns:
            source = source.as_text(name)
    own = [name for name in source.columns() if name in special]
    known = pd.concat(list(source.stream(own)), ignore_index=True) if own else pd.DataFrame()
    if settings.id_column is not None:
        where = f"{source.description}: column {settings.id_column!r}"
        ids = row_ids(known[settings.id_column], where=where)
    kind = settings.kind
    if kind.read_columns is not None and not isinstance(settings.label, str):
        table = known[settings.label_columns]
        labels, classes = kind.read_columns(table, ids, source.description, settings.reading())
    else:
        column = settings.label if isinstance(settings.label, str) else None
        # Of boxes, the order that the user names is the only one.
        unasked = column is None or (kind.own_loss and settings.classes is not None)
        stored = None if unasked else source.stored_classes(str(column))
        values = pd.Series(dtype=object) if column is None else known[column]
        where = f"{source.description}: column {column!r}"
        labels, classes = kind.read(values, ids, where, settings.reading(stored, folder))

    others = (*settings.annotator_columns, *settings.aside)
    features = [name for name in source.columns() if name not in (*own, *others)]
    first_rows = next(source.frames(ROWS_SEEN))
    modality, content_column = modality_of(first_rows, features, folder)
    if kind.per_word and isinstance(settings.label, str):
        words = words_column(first_rows, features, known[settings.label])
        if words is not None:
            modality, content_column = "text", words
            _check_words(source, words, known[settings.label], ids, labels, settings.tolerate)
    if kind.per_pixel and isinstance(settings.label, str) and settings.size is None:
        _check_sizes(source, content_column, ids, labels, folder, settings.tolerate)
    if answers is not None:
        modality, content_column = "text", PAIR
    if settings.instruction is not None:
        modality, content_column = "text", INSTRUCTION
    if sha256 is None:
        sha256 = hash_of_rows(source.stream())
    elif (
        folder is not None
        and content_column is not None
        and modality == "image"
        # A column of bytes names no files.
        and not any(isinstance(value, bytes) for value in first_rows[content_column])
    ):
        sha256 = hash_with_images(sha256, source, content_column, folder, settings.tolerate)
    if kind.per_pixel and isinstance(settings.label, str) and folder is not None:
        sha256 = hash_with_images(sha256, source, settings.label, folder, settings.tolerate)
    if votes is not None and votes.sha256:
        sha256 = hashlib.sha256(f"{sha256} {votes.sha256}".encode()).hexdigest()
    return Samples(
        role=settings.role,
        source=source,
        ids=put_away(ids),
        labels=put_away(labels),
        classes=classes,
        label_column=settings.label if isinstance(settings.label, str) else None,
        label_columns=() if isinstance(settings.label, str) else settings.label_columns,
        separator=settings.separator,
        ignore_label=settings.ignore,
        id_column=settings.id_column,
        modality=modality,
        content_column=content_column,
        sha256=sha256,
        folder=folder,
        group_column=settings.group_column,
        task=settings.task,
        votes=votes,
        other_columns=others,
        answers=answers,
        instruction=settings.instruction,
    )


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


def _check_sizes(
    source: ColumnSource,
    column: str | None,
    ids: NDArray[Any],
    labels: NDArray[Any],
    folder: Path | None,
    tolerate: bool,
) -> None:
    """Refuse rows whose mask has another size than the picture, or mark them in `labels`."""
    if column is None:
        return
    height, width = labels.shape[1:]
    row = 0
    for frame in source.stream([column]):
        for value in frame[column]:
            where = f"{source.description}: row {row} (id {ids[row]})"
            try:
                found = size_of(value, where=where, folder=folder)
                if found != (width, height) and (labels[row] != UNUSABLE).any():
                    raise DataError(
                        f"{where}: the mask has {width} x {height} pixels, its picture "
                        f"{found[0]} x {found[1]}; expected the same size"
                    )
            except DataError:
                if not tolerate:
                    raise
                labels[row] = UNUSABLE
            row += 1


def _usable_id(source: ColumnSource, name: str | None) -> str | None:
    """Return the column that other rows go by where it can name these rows, too."""
    if name is None or name not in source.columns():
        return None
    values = pd.concat([frame[name] for frame in source.stream([name])], ignore_index=True)
    try:
        row_ids(values, where=source.description)
    except DataError:
        return None
    return name


def _require_column(source: ColumnSource, name: str, purpose: str) -> None:
    columns = source.columns()
    if name in columns:
        return
    near = close_match(name, [str(column) for column in columns])
    suggestion = f"; did you mean {near!r}?" if near else ""
    shown = ", ".join(repr(column) for column in columns[:20])
    more = f", ... ({len(columns)} in all)" if len(columns) > 20 else ""
    raise DataError(
        f"{source.description}: no {purpose} column {name!r}; the columns are {shown}{more}"
        f"{suggestion}"
    )

"""Other splits read as the training set is: the same columns, or none of the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataaudit.datasets.images import encoded
from dataaudit.datasets.memory import ArrayPair, Pairs
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples, Source
from dataaudit.datasets.set_aside import ROWS_PER_READ
from dataaudit.errors import DataError, close_match
from dataaudit.labels.values import ignored, unusable


@dataclass(frozen=True)
class AsTraining:
    """Rows with the content in the column where the training rows have it.

    Attributes
    ----------
    source : Source
    own, column : str
        The column in the source, and what it is called here.
    folder : Path or None
        What the paths of images are relative to; images are read from there. None: values are left
        as they are.
    """

    source: Source
    own: str
    column: str
    folder: Path | None

    @property
    def description(self) -> str:
        """What errors call it."""
        return self.source.description

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.source)

    def frames(self, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, `rows_per_frame` at a time, index = positions."""
        return map(self._read, self.source.frames(rows_per_frame))

    def frames_from(self, start: int, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield the rows from `start` on, `rows_per_frame` at a time, index = positions."""
        return map(self._read, self.source.frames_from(start, rows_per_frame))

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        return self._read(self.source.take(positions))

    def quick_to_take(self, folder: Path) -> AsTraining:
        """Return the same rows, where `take` reads no more than it is asked for."""
        return replace(self, source=self.source.quick_to_take(folder))

    def _read(self, frame: pd.DataFrame) -> pd.DataFrame:
        if self.own != self.column:
            # Another column may be called so already.
            others = frame.drop(columns=self.column, errors="ignore")
            frame = others.rename(columns={self.own: self.column})
        if self.folder is None:
            return frame
        contents = [self._encoded(value) for value in frame[self.column]]
        return frame.assign(**{self.column: pd.Series(contents, index=frame.index, dtype=object)})

    def _encoded(self, value: Any) -> bytes:
        try:
            return encoded(value, where=self.description, folder=self.folder)
        except DataError:
            # Refused when the samples were opened, or else a bad row, which no bytes are, too.
            return b""


def read_like(samples: Samples, train: Samples, *, own_code: bool = False) -> Samples:
    """Return the samples with the content where training rows have it.

    What a column is, is decided by the training set: a further column must not turn texts into a
    table. Where samples lack the column, their own of the same kind is read under its name. Images
    whose paths are relative to another folder than the training rows' are read from there, unless
    code of the user's own opens them.

    Raises
    ------
    DataError
        They lack the column and have none of the kind.
    """
    if train.modality in ("table", "tensor"):
        return samples
    columns = samples.take([0]).frame.columns
    column = str(train.content_column)
    own = column if column in columns else samples.content_column
    if column in columns or samples.modality == train.modality:
        elsewhere = train.modality == "image" and samples.folder != train.folder and not own_code
        source = samples.source
        if own != column or elsewhere:
            folder = samples.folder if elsewhere else None
            source = AsTraining(source, str(own), column, folder)
        return replace(samples, source=source, modality=train.modality, content_column=column)
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
        or (isinstance(value, str) and value == "")
        or (isinstance(value, float) and value != value)
    )


def _without_labels(samples: Samples, train: Samples) -> Samples:
    """Return labels of the training rows' kind that say nothing."""
    shape = (len(samples), *train.labels.shape[1:])
    return replace(
        samples,
        labels=np.full(shape, train.kind.nothing, dtype=train.labels.dtype),
        classes=train.classes,
        label_column=train.label_column,
        label_columns=train.label_columns,
        labelled=False,
    )

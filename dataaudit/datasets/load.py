"""A path or an object as `Samples`: recognised, checked, ids and labels read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from dataaudit.datasets.comma_separated import CommaSeparated
from dataaudit.datasets.files import close_match, existing, sha256_of
from dataaudit.datasets.hashing import ContentHash
from dataaudit.datasets.identifiers import row_ids
from dataaudit.datasets.json_lines import JsonLines
from dataaudit.datasets.labels import class_indices, targets
from dataaudit.datasets.memory import Frame
from dataaudit.datasets.modality import ROWS_SEEN, modality_of
from dataaudit.datasets.parquet import Parquet
from dataaudit.datasets.samples import Role, Samples, Source
from dataaudit.errors import DataError


class ColumnSource(Source, Protocol):
    """A source whose columns can be read apart from each other."""

    def columns(self) -> list[str]:
        """Return the column names, in order."""
        ...

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, in frames of any length, with only `columns` where given."""
        ...


READERS: dict[str, Callable[[Path, str], ColumnSource]] = {
    ".csv": CommaSeparated.open,
    ".parquet": Parquet.open,
    ".jsonl": JsonLines.open,
}


def open_samples(
    path: Path,
    *,
    role: Role,
    label: str,
    id_column: str | None,
    classes: Sequence[str | int] | None,
    task: str,
) -> Samples:
    """Open a file or folder of samples and check its ids and labels.

    Parameters
    ----------
    path : Path
        A file with an ending of `READERS`.
    role : "train", "held_out" or "suspects"
    label : str
        The column that holds the labels.
    id_column : str or None
        The column that holds the row ids. Without one, the ids are the positions 0, 1, 2, …,
        even where a column happens to be called `row_id`: only what is named is relied on.
    classes : sequence of str or int, or None
        The label values in the order of the model's outputs; None where the labels are 0..C-1,
        or the data stores the names of its classes in that order.
    task : "classification" or "regression"

    Raises
    ------
    DataError
        When the path is missing or of no known kind; the file is damaged or has no rows; a
        column is missing; an id is missing or repeated; a label is missing or is no class. Rows
        are counted from 0 in messages, lines from 1.
    """
    path = existing(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: files ending in {path.suffix or 'nothing'!r} are not supported; expected"
            f" one of {', '.join(READERS)}"
        )
    source = reader(path, str(path))
    facts = _Facts(source, sha256_of([path], str(path)), folder=path.parent)
    return _samples(facts, role, label, id_column, classes, task)


def samples_from_object(
    obj: Any,
    *,
    role: Role,
    label: str,
    id_column: str | None,
    classes: Sequence[str | int] | None,
    task: str,
) -> Samples:
    """Take an object in memory as samples and check its ids and labels.

    Parameters
    ----------
    obj : pandas.DataFrame
    role, label, id_column, classes, task
        As in `open_samples`.

    Raises
    ------
    DataError
        As `open_samples`, and when the object is of no known kind.
    """
    if isinstance(obj, pd.DataFrame):
        frame = Frame(f"{role} (DataFrame)", obj)
        content = ContentHash()
        content.add(obj)
        return _samples(_Facts(frame, content.hexdigest()), role, label, id_column, classes, task)
    raise DataError(f"{role}: expected a pandas DataFrame, found {type(obj).__name__}")


@dataclass(frozen=True)
class _Facts:
    """What a kind of data knows of itself beyond its rows.

    Attributes
    ----------
    sha256 : str
        Hash of the content.
    folder : Path or None
        What image paths in a column are relative to.
    class_names : sequence of str or None
        The names the data stores for its classes, in its order.
    """

    source: ColumnSource
    sha256: str
    folder: Path | None = None
    class_names: Sequence[str] | None = None


def _samples(
    facts: _Facts,
    role: Role,
    label: str,
    id_column: str | None,
    classes: Sequence[str | int] | None,
    task: str,
) -> Samples:
    source = facts.source
    if len(source) == 0:
        raise DataError(f"{source.description}: there are no rows")
    _require_column(source, label, "label")
    if id_column is not None:
        _require_column(source, id_column, "id")
    own = [label] if id_column in (None, label) else [label, str(id_column)]
    known = pd.concat(list(source.stream(own)), ignore_index=True)

    ids: np.ndarray[Any, Any] = np.arange(len(source), dtype=np.int64)
    if id_column is not None:
        ids = row_ids(known[id_column], where=f"{source.description}: column {id_column!r}")
    where = f"{source.description}: column {label!r}"
    labels: np.ndarray[Any, Any]
    names: Sequence[str | int] = []
    if task == "classification":
        labels, names = class_indices(
            known[label], ids, where=where, classes=classes, names=facts.class_names
        )
    elif task == "regression":
        labels = targets(known[label], ids, where=where)
    else:
        raise ValueError(f"task must be classification or regression, not {task!r}")

    first_rows = next(iter(source.frames(min(ROWS_SEEN, len(source)))))
    features = [name for name in source.columns() if name not in own]
    modality, content_column = modality_of(first_rows, features, facts.folder)
    return Samples(
        role=role,
        source=source,
        ids=ids,
        labels=labels,
        classes=names,
        label_column=label,
        id_column=id_column,
        modality=modality,
        content_column=content_column,
        sha256=facts.sha256,
        folder=facts.folder,
    )


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

"""The labels of several annotators: columns beside the rows, or a table of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.around import Around
from dataaudit.datasets.files import sha256_of
from dataaudit.datasets.formats import open_source
from dataaudit.datasets.identifiers import row_ids
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError
from dataaudit.labels.consensus import LARGEST_TABLE, Votes, majority
from dataaudit.labels.kind import Names
from dataaudit.labels.values import UNUSABLE, is_missing, such_rows

TABLE_COLUMNS = ["row_id", "annotator", "label"]
FEWEST = 2


@dataclass(frozen=True)
class WithMajority(Around):
    """Rows with a further column: the label that most annotators gave, None where none did."""

    column: str
    values: NDArray[Any]

    def columns(self) -> list[str]:
        """Return the column names, in order."""
        return [*self.source.columns(), self.column]

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, with only `columns` where given."""
        own = None if columns is None else [name for name in columns if name != self.column]
        start = 0
        for frame in self.source.stream(own):
            rows = slice(start, start + len(frame))
            start += len(frame)
            if columns is None or self.column in columns:
                frame = frame.assign(**{self.column: self.values[rows]})
            yield frame if columns is None else frame[list(columns)]

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        frame = self.source.take(positions)
        return frame.assign(**{self.column: self.values[list(positions)]})

    def why_not_rewritten(self) -> str | None:
        """Return why corrections cannot be written: there is no column to write into."""
        return (
            f"there is no column {self.column!r} to write corrections into; add one, for example "
            "the consensus in consensus.parquet, and name it in train.label"
        )


def with_votes(
    source: ColumnSource, settings: ReadSettings, ids: NDArray[Any]
) -> tuple[ColumnSource, Votes]:
    """Return the rows with a label each, and the labels of all annotators.

    Where the rows have the column `settings.label`, that is the label in use; else it is the one
    that most annotators gave.

    Parameters
    ----------
    source : ColumnSource
    settings : ReadSettings
        Its annotators are given.
    ids : `[rows]`
        What a table of labels calls the rows, where the settings name no column of ids.

    Raises
    ------
    DataError
        A column, row or annotator is missing, somebody labels a row twice, a label is none of the
        classes, or there are fewer than two annotators.
    """
    if settings.id_column is not None and settings.id_column in source.columns():
        column = pd.concat(list(source.stream([settings.id_column])), ignore_index=True)
        where = f"{source.description}: column {settings.id_column!r}"
        ids = row_ids(column[settings.id_column], where=where)
    if isinstance(settings.annotators, Path):
        given, names, sha256 = _from_table(settings.annotators, ids, source.description)
        where = f"{settings.annotators}: column 'label'"
    else:
        given, names, sha256 = *_from_columns(source, list(settings.annotators or [])), ""
        where = f"{source.description}: labels of the annotators, one column after the other"
    given = given[[not is_missing(value, None) for value in given["label"]]]
    if given["annotator"].nunique() < FEWEST:
        raise DataError(f"{where}: expected labels of {FEWEST} annotators at least")
    labels, classes = settings.kind.read(
        given["label"].reset_index(drop=True),
        ids[given["row"].to_numpy()],
        where,
        settings.reading(),
    )
    given = given.assign(label=labels)[labels >= 0].sort_values("row", kind="stable")
    if len(names) * len(classes) ** 2 > LARGEST_TABLE:
        raise DataError(
            f"{where}: {len(names)} annotators of {len(classes)} classes are too many: annotators "
            f"times classes squared may be {LARGEST_TABLE:,} at most"
        )
    row, annotator, label = given[["row", "annotator", "label"]].to_numpy(dtype=np.int64).T
    votes = Votes(row, annotator, label, tuple(names), sha256)
    if settings.label in source.columns():
        return source, votes
    return WithMajority(source, str(settings.label), _values(votes, len(source), classes)), votes


def _values(votes: Votes, rows: int, classes: Names) -> NDArray[Any]:
    labels = majority(votes, rows, len(classes))
    values = np.full(rows, None, dtype=object)
    known = labels != UNUSABLE
    values[known] = np.array(list(classes), dtype=object)[labels[known]]
    return values


def _from_columns(source: ColumnSource, columns: list[str]) -> tuple[pd.DataFrame, list[str]]:
    missing = [name for name in columns if name not in source.columns()]
    if missing:
        raise DataError(
            f"{source.description}: no column {missing[0]!r}, named among the annotators; the "
            f"columns are {', '.join(map(str, source.columns()))}"
        )
    table = pd.concat(list(source.stream(columns)), ignore_index=True)
    parts = [
        pd.DataFrame(
            {"row": np.arange(len(table)), "annotator": place, "label": table[name].astype(object)}
        )
        for place, name in enumerate(columns)
    ]
    return pd.concat(parts, ignore_index=True), columns


def _from_table(
    path: Path, ids: NDArray[Any], description: str
) -> tuple[pd.DataFrame, list[str], str]:
    source = open_source(path)
    missing = [name for name in TABLE_COLUMNS if name not in source.columns()]
    if missing:
        raise DataError(
            f"{path}: no column {missing[0]!r}; expected the columns {', '.join(TABLE_COLUMNS)}, "
            "with a line for each label that somebody gave"
        )
    table = pd.concat(list(source.stream(TABLE_COLUMNS)), ignore_index=True)
    # A column of numbers in one file may be one of texts in the other.
    rows = pd.Index(ids.astype(str)).get_indexer(table["row_id"].astype(str))
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        raise DataError(
            f"{path}: row {unknown[0]}: row_id {str(table['row_id'][unknown[0]])!r} is none of "
            f"{description}"
        )
    # Missing, it would be taken for the last annotator's place.
    nobody = np.flatnonzero([is_missing(value, None) for value in table["annotator"]])
    if len(nobody):
        raise DataError(
            f"{path}: row {nobody[0]}: the annotator is missing ({such_rows(len(nobody))}); "
            "expected one in every row"
        )
    places, names = pd.factorize(table["annotator"].astype(str))
    given = pd.DataFrame({"row": rows, "annotator": places, "label": table["label"].astype(object)})
    again = np.flatnonzero(given.duplicated(["row", "annotator"]))
    if len(again):
        line = table.iloc[again[0]]
        raise DataError(
            f"{path}: row {again[0]}: annotator {str(line['annotator'])!r} labels row "
            f"{str(line['row_id'])!r} a second time; expected one label of each annotator"
        )
    return given, list(names), sha256_of(source.files(), source.description)

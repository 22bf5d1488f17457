"""Hugging Face data sets: saved with `save_to_disk`, or in memory; `datasets` is not imported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataaudit.datasets.arrow_ipc import ArrowFiles
from dataaudit.datasets.files import inside, readable
from dataaudit.datasets.frames import column_names, may_change_type, pick, plain_frame
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError

_ROWS_PER_READ = 256


def is_saved(folder: Path) -> bool:
    """Tell whether a folder was written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def open_saved(folder: Path, description: str) -> ArrowFiles:
    """Open a folder written by `Dataset.save_to_disk`.

    Raises
    ------
    DataError
        When it holds several splits, names files that are missing or lie outside, or a file is
        damaged.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json", description).get("splits") or ["..."]
        raise DataError(
            f"{description}: holds the splits {', '.join(map(str, splits))}; give the path of one,"
            f" for example {folder / str(splits[0])}"
        )
    state = _json(folder / "state.json", description)
    if state.get("_indices_data_files"):
        raise DataError(
            f"{description}: rows are reordered by an index file; save the data set again with a"
            " current version of datasets"
        )
    listed = state.get("_data_files")
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{description}: state.json names no data files")
    paths = []
    for entry in listed:
        name = entry.get("filename") if isinstance(entry, dict) else None
        path = inside(folder, name) if isinstance(name, str) else None
        if path is None:
            raise DataError(f"{description}: there is no data file {name!r} in the folder")
        paths.append(path)
    return ArrowFiles.open(paths, description)


def saved_files(folder: Path, source: ArrowFiles) -> list[Path]:
    """Return the files that make up a saved data set."""
    return [*source.paths, *(path for path in [folder / "dataset_info.json"] if path.is_file())]


def saved_class_names(folder: Path, column: str, description: str) -> list[str] | None:
    """Return the names of a saved ClassLabel column, in stored order, or None."""
    if not (folder / "dataset_info.json").is_file():
        return None
    features = _json(folder / "dataset_info.json", description).get("features")
    feature = features.get(column) if isinstance(features, dict) else None
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    return [str(name) for name in names] if isinstance(names, list) and names else None


def is_data_set(obj: Any) -> bool:
    """Tell whether an object is a `datasets.Dataset`, by what it can do."""
    return (
        isinstance(getattr(obj, "features", None), Mapping)
        and hasattr(obj, "with_format")
        and hasattr(obj, "__len__")
        and isinstance(getattr(obj, "column_names", None), list)
    )


def class_names(obj: Any, column: str) -> list[str] | None:
    """Return the names of a ClassLabel column of a `datasets.Dataset`, or None."""
    names = getattr(obj.features.get(column), "names", None)
    return [str(name) for name in names] if names else None


@dataclass(frozen=True)
class InMemory(ColumnSource):
    """The rows of a `datasets.Dataset`, read as Arrow: images stay encoded."""

    description: str
    data_set: Any
    names: list[str]
    with_missing: frozenset[str]

    @classmethod
    def open(cls, obj: Any, description: str) -> InMemory:
        """Look through the columns whose type would change with a missing value."""
        arrow = obj.with_format("arrow")
        with_missing: set[str] = set()
        with readable(description, "a datasets.Dataset"):
            schema = arrow[0:1].schema
            names = column_names(schema, description)
            changing = [name for name in names if may_change_type(schema.field(name))]
            counted = arrow.select_columns(changing)
            for start in range(0, len(obj) if changing else 0, _ROWS_PER_READ):
                table = counted[start : start + _ROWS_PER_READ]
                with_missing.update(name for name in changing if table[name].null_count)
        return cls(description, arrow, names, frozenset(with_missing))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.data_set)

    def columns(self) -> list[str]:
        """Return the column names."""
        return list(self.names)

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, in frames of any length, with only `columns` where given."""
        wanted = self.names if columns is None else list(columns)
        chosen = self.data_set.select_columns(wanted)
        with readable(self.description, "a datasets.Dataset"):
            for start in range(0, len(self), _ROWS_PER_READ):
                table = chosen[start : start + _ROWS_PER_READ].select(wanted)
                yield plain_frame(table, self.with_missing)

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        return pick(np.array([0, len(self)], dtype=np.int64), positions, self._rows)

    def _rows(self, block: int, rows: np.ndarray[Any, np.dtype[np.int64]]) -> pd.DataFrame:
        with readable(self.description, "a datasets.Dataset"):
            table = self.data_set[rows.tolist()] if len(rows) else self.data_set[0:0]
            return plain_frame(table.select(self.names), self.with_missing)


def _json(path: Path, description: str) -> dict[str, Any]:
    with readable(description, f"a saved data set ({path.name})"):
        content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise DataError(f"{description}: {path.name} does not hold a JSON object")
    return content

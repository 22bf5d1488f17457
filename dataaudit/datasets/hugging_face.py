"""Hugging Face data sets: saved with `save_to_disk`, or in memory; `datasets` is not imported."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataaudit.datasets.arrow_ipc import ArrowFiles
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.files import inside, readable
from dataaudit.datasets.frames import column_names, may_change_type, pick, plain_frame
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource, Format
from dataaudit.errors import DataError

_ROWS_PER_READ = 256
_STATE = "state.json"
_SPLITS = "dataset_dict.json"
_INFORMATION = "dataset_info.json"
# What `datasets` computed from the rows and left beside them; it would be found again by name.
_CACHE = "cache-*.arrow"


def is_saved(folder: Path) -> bool:
    """Tell whether a folder was written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    return (folder / _STATE).is_file() or (folder / _SPLITS).is_file()


@dataclass(frozen=True, kw_only=True)
class SavedDataSet(ArrowFiles):
    """The rows of a folder written by `Dataset.save_to_disk`."""

    folder: Path

    @classmethod
    def open_folder(cls, folder: Path, description: str) -> SavedDataSet:
        """Read what the folder says of itself, and the record batches' headers.

        Raises
        ------
        DataError
            When it holds several splits, names files that are missing or lie outside, or a file
            is damaged.
        """
        rows = ArrowFiles.open(_data_files(folder, description), description)
        return cls(**vars(rows), folder=folder)

    def files(self) -> list[Path]:
        """Return the files that make up the data set."""
        information = self.folder / _INFORMATION
        return [*self.paths, *([information] if information.is_file() else [])]

    def image_root(self) -> Path:
        """Return the folder."""
        return self.folder

    def patterns(self) -> list[str]:
        """Return the names of the files that hold the rows."""
        return [path.name for path in self.paths]

    def stored_classes(self, column: str) -> list[str] | None:
        """Return the names of a ClassLabel column, in stored order, or None."""
        if not (self.folder / _INFORMATION).is_file():
            return None
        features = _json(self.folder / _INFORMATION, self.description).get("features")
        feature = features.get(column) if isinstance(features, dict) else None
        if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
            return None
        names = feature.get("names")
        return [str(name) for name in names] if isinstance(names, list) and names else None

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Write the folder with other labels.

        Its fingerprint changes: `datasets` looks up what it computed before by that name, and
        would otherwise hand out results of the old labels.
        """
        shutil.copytree(self.folder, target, ignore=_ignored(self, self.folder.resolve()))
        inside_folder = [path.relative_to(self.folder.resolve()) for path in self.paths]
        self.rewrite_files(samples, changes, [target / path for path in inside_folder])
        state = json.loads((self.folder / _STATE).read_bytes())
        parts = (changes.positions, changes.labels, changes.dropped)
        made_of = json.dumps([samples.sha256, *(part.tolist() for part in parts)])
        state["_fingerprint"] = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        text = json.dumps(state, indent=2, sort_keys=True)
        (target / _STATE).write_text(text, encoding="utf-8")


def is_data_set(obj: Any) -> bool:
    """Tell whether an object is a `datasets.Dataset`, by what it can do."""
    return (
        isinstance(getattr(obj, "features", None), Mapping)
        and hasattr(obj, "with_format")
        and hasattr(obj, "__len__")
        and isinstance(getattr(obj, "column_names", None), list)
    )


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

    def stored_classes(self, column: str) -> list[str] | None:
        """Return the names of a ClassLabel column, or None."""
        names = getattr(self.data_set.features.get(column), "names", None)
        return [str(name) for name in names] if names else None

    def _rows(self, block: int, rows: np.ndarray[Any, np.dtype[np.int64]]) -> pd.DataFrame:
        with readable(self.description, "a datasets.Dataset"):
            table = self.data_set[rows.tolist()] if len(rows) else self.data_set[0:0]
            return plain_frame(table.select(self.names), self.with_missing)


def _data_files(folder: Path, description: str) -> list[Path]:
    """Return the files that `state.json` names, all inside the folder."""
    if (folder / _SPLITS).is_file():
        splits = _json(folder / _SPLITS, description).get("splits") or ["..."]
        raise DataError(
            f"{description}: holds the splits {', '.join(map(str, splits))}; give the path of one,"
            f" for example {folder / str(splits[0])}"
        )
    state = _json(folder / _STATE, description)
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
    return paths


def _ignored(source: ArrowFiles, root: Path) -> Callable[[str, list[str]], set[str]]:
    """Return what tells which files are not copied; links that lead out are none of them."""
    rewritten = {path.name for path in source.paths}
    cache = shutil.ignore_patterns(_CACHE)

    def ignored(folder: str, names: list[str]) -> set[str]:
        outside = {n for n in names if not (Path(folder) / n).resolve().is_relative_to(root)}
        return {*cache(folder, names), *(rewritten & set(names)), *outside}

    return ignored


def _json(path: Path, description: str) -> dict[str, Any]:
    with readable(description, f"a saved data set ({path.name})"):
        content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise DataError(f"{description}: {path.name} does not hold a JSON object")
    return content


FORMAT = Format(is_saved, lambda path, _: SavedDataSet.open_folder(path, str(path)))

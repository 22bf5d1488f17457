"""A path as a source of rows: recognised by its ending, or by what lies in the folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dataaudit.datasets.arrow_ipc import ArrowFiles
from dataaudit.datasets.comma_separated import CommaSeparated
from dataaudit.datasets.files import existing
from dataaudit.datasets.hugging_face import is_saved, open_saved
from dataaudit.datasets.image_folder import ImageFolder
from dataaudit.datasets.json_lines import JsonLines
from dataaudit.datasets.parquet import Parquet
from dataaudit.datasets.shard_paths import ENDING, shard_paths
from dataaudit.datasets.shards import TarShards
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError

READERS: dict[str, Callable[[Path, str], ColumnSource]] = {
    ".csv": CommaSeparated.open,
    ".parquet": Parquet.open,
    ".jsonl": JsonLines.open,
    ".arrow": lambda path, description: ArrowFiles.open([path], description),
    ".feather": lambda path, description: ArrowFiles.open([path], description),
}
"""What opens a file of rows, by its ending in lower case. Shards may be several files."""

ENDINGS_READ = (*READERS, ENDING)


def open_source(path: Path, *, tolerate: bool = False) -> ColumnSource:
    """Open a file, a folder or shards.

    Parameters
    ----------
    path : Path
    tolerate : bool
        Whether values of shards that cannot be read count as missing.

    Raises
    ------
    DataError
        When the path is missing or of no known kind, or the data is damaged.
    """
    shards = shard_paths(path)
    if shards is not None and not is_saved(path):
        return TarShards.open(shards, str(path), tolerate)
    path = existing(path)
    if path.is_dir():
        if is_saved(path):
            return open_saved(path, str(path))
        return ImageFolder.open(path, str(path))
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: files {_named(path)} are not supported; expected one of "
            f"{', '.join(ENDINGS_READ)}, an image folder, or a folder saved by Hugging Face "
            "datasets"
        )
    return reader(path, str(path))


def _named(path: Path) -> str:
    if path.name.lower().endswith((".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz")):
        return f"ending in {path.suffix!r} cannot be read row by row (unpack it to .tar), and"
    return f"ending in {path.suffix!r}" if path.suffix else "without an ending"

"""The formats of data sets: a path is opened by the first of them that knows it."""

from __future__ import annotations

from pathlib import Path

from dataaudit.datasets import (
    arrow_ipc,
    coco,
    comma_separated,
    hugging_face,
    image_folder,
    json_lines,
    mask_folder,
    parquet,
    shards,
    unpacked,
)
from dataaudit.datasets.files import existing, readable
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError

# Saved data sets stand first: what else lies in their folder is no data. An image folder is what
# a folder is that no other format knows.
FORMATS = (
    hugging_face.FORMAT,
    shards.FORMAT,
    parquet.FOLDER,
    mask_folder.FORMAT,
    image_folder.FORMAT,
    unpacked.UTF16,
    comma_separated.FORMAT,
    parquet.FORMAT,
    json_lines.FORMAT,
    coco.FORMAT,
    unpacked.JSON,
    unpacked.GZIP,
    arrow_ipc.FORMAT,
)

SHARD_ENDINGS = shards.FORMAT.endings
FILE_ENDINGS = tuple(
    ending for known in FORMATS for ending in known.endings if ending not in SHARD_ENDINGS
)
"""Of files that are a data set each; shards may be several files."""
ENDINGS_READ = (*FILE_ENDINGS, *SHARD_ENDINGS)


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
    with readable(str(path), "a file or folder"):
        found = next((known for known in FORMATS if known.knows(path)), None)
    if found is not None:
        return found.open(path, tolerate)
    raise DataError(
        f"{existing(path)}: files {_named(path)} are not supported; expected one of "
        f"{', '.join(ENDINGS_READ)}, an image folder, a folder of .parquet parts, or one "
        "saved by Hugging Face datasets" + _advice(path)
    )


def _advice(path: Path) -> str:
    """Return what to do with a table in a format that is not read."""
    if path.suffix.lower() in (".txt", ".xlsx", ".xls"):
        return "; save it as .csv or as .parquet"
    packed = path.suffix.lower() in (".gz", ".bz2", ".xz", ".zip", ".zst")
    return "; unpack it first" if packed else ""


def _named(path: Path) -> str:
    if path.name.lower().endswith((".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz")):
        return f"ending in {path.suffix!r} cannot be read row by row (unpack it to .tar), and"
    return f"ending in {path.suffix!r}" if path.suffix else "without an ending"

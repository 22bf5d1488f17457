"""Data files on disk: found or refused with a suggestion, hashed, kept inside their folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from dataaudit.errors import DataError, close_match

MOST_ROWS_PER_BYTE = 100
"""Columns that say the same in every row take next to nothing, rows that differ do not."""
SMALL = 1_000_000
"""So many rows never fill the memory."""
MOST_BYTES_PER_BYTE = 100
"""Rows that differ are not packed more densely; a value that is said once can fill every row."""
SMALL_BYTES = 64 * 1024 * 1024
"""So many bytes fill neither memory nor disk."""

# What pyarrow, pandas and the operating system raise for a file that is damaged, truncated, not
# of the format its ending promises, or that may not be read. Arrow's own exceptions derive from
# these or from ArrowException; a damaged length field shows as MemoryError or OverflowError.
_UNREADABLE = (
    pa.ArrowException,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    NotImplementedError,
    OverflowError,
    MemoryError,
    RecursionError,
)


@contextmanager
def readable(description: str, expected: str) -> Iterator[None]:
    """Turn whatever a reader raises for a bad file into one `DataError`.

    Parameters
    ----------
    description : str
        The file, as the user wrote it.
    expected : str
        What it should have been, for example "a Parquet file".
    """
    try:
        yield
    except DataError:
        raise
    except _UNREADABLE as error:
        found = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(f"{description}: cannot be read as {expected}: {found}") from error


def existing(path: Path) -> Path:
    """Return `path`, or raise a `DataError` that suggests what stands nearby.

    Raises
    ------
    DataError
        When there is nothing at `path`, or it may not be looked at.
    """
    with readable(str(path), "a file or folder"):
        if path.exists():
            return path
        folder = path.parent
        if not folder.is_dir():
            raise DataError(f"{path}: there is no such file, and no folder {folder}")
        near = close_match(path.name, (entry.name for entry in folder.iterdir()))
    suggestion = f"; did you mean {folder / near}?" if near else ""
    raise DataError(f"{path}: there is no such file or folder{suggestion}")


def sha256_of(paths: Iterable[Path], description: str) -> str:
    """Return the SHA-256 (hex) of the content of `paths`, one after the other, read in pieces.

    Of a single file it is what `sha256sum` prints. Of several it is the hash of their hashes, so
    that bytes that move from one file to the next change it.
    """
    digests = []
    with readable(description, "a file"):
        for path in paths:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def refuse_rows_without_end(rows: int, paths: Iterable[Path], description: str) -> None:
    """Raise a `DataError` where files announce more rows than rows that differ can be packed to."""
    size = sum(path.stat().st_size for path in paths)
    if rows > MOST_ROWS_PER_BYTE * size and rows > SMALL:
        raise DataError(
            f"{description}: announces {rows} rows in {size} bytes; no file of real rows is packed "
            f"so densely, expected at most {MOST_ROWS_PER_BYTE} rows a byte"
        )


def most_bytes(paths: Iterable[Path]) -> int:
    """Return how many bytes the content of files may take when it is unpacked."""
    return max(SMALL_BYTES, MOST_BYTES_PER_BYTE * sum(path.stat().st_size for path in paths))


def too_many_bytes(description: str) -> DataError:
    """Return the error for files that hold more than `most_bytes`."""
    return DataError(
        f"{description}: holds more than {MOST_BYTES_PER_BYTE} bytes for each of its own; no file "
        "of real rows is packed so densely"
    )


def inside(folder: Path, relative: str) -> Path | None:
    """Return the file `relative` to `folder`, or None where it is missing or lies outside.

    Links are followed before the test, so that no link leads out of the folder either. Backslashes
    part folders, too, where there is no file that has them in its name.
    """
    try:
        path = (folder / relative).resolve()
        if "\\" in relative and not path.is_file():
            path = (folder / relative.replace("\\", "/")).resolve()
        return path if path.is_relative_to(folder.resolve()) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        # A name that no file can have (a NUL, thousands of characters), or links in a circle.
        return None

"""Hashes of data: the same values give the same hash, in every process."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataaudit.datasets.images import encoded, image_path
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError


class ContentHash:
    """SHA-256 over the columns of frames that are fed in pieces of any length."""

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}

    def add(self, frame: pd.DataFrame) -> None:
        """Take the rows of another frame into account; all have the same columns."""
        for position, name in enumerate(frame.columns):
            column = frame.iloc[:, position]
            if str(name) not in self._columns:
                self._columns[str(name)] = hashlib.sha256(str(column.dtype).encode())
            running = self._columns[str(name)]
            if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufmM":
                running.update(np.ascontiguousarray(column.to_numpy()).tobytes())
            else:
                for value in column:
                    _feed(running, value)

    def hexdigest(self) -> str:
        """Return the hash of all rows so far, hex."""
        whole = hashlib.sha256()
        for name, running in self._columns.items():
            _feed(whole, name)
            whole.update(running.digest())
        return whole.hexdigest()


def hash_of_rows(frames: Iterable[pd.DataFrame]) -> str:
    """Return the hash of the rows of all frames, hex."""
    content = ContentHash()
    for frame in frames:
        content.add(frame)
    return content.hexdigest()


def hash_with_images(
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


def _feed(running: Any, value: Any) -> None:
    """Hash a value with its type and length, so that no two values run into each other."""
    if isinstance(value, Mapping):
        _feed_bytes(running, "mapping", str(len(value)).encode())
        for key, item in value.items():
            _feed(running, key)
            _feed(running, item)
    elif isinstance(value, list | tuple):
        _feed_bytes(running, "sequence", str(len(value)).encode())
        for item in value:
            _feed(running, item)
    elif isinstance(value, bytes):
        _feed_bytes(running, "bytes", value)
    elif isinstance(value, str):
        _feed_bytes(running, "text", value.encode("utf-8", "surrogatepass"))
    elif value is None or isinstance(value, bool | int | float):
        _feed_bytes(running, type(value).__name__, repr(value).encode())
    else:
        _feed_object(running, value)


def _feed_object(running: Any, value: Any) -> None:
    """Hash an array by its numbers, anything else by its pickled form (which is never read)."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        array = np.asarray(None, dtype=object)
    if array.dtype != object:
        content = np.ascontiguousarray(array).tobytes()
        _feed_bytes(running, f"{array.dtype}{array.shape}", content)
        return
    try:
        content = pickle.dumps(value, protocol=4)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
        content = b""
    _feed_bytes(running, type(value).__qualname__, content)


def _feed_bytes(running: Any, kind: str, content: bytes) -> None:
    running.update(f"{kind}:{len(content)}:".encode())
    running.update(content)

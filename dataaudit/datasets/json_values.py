"""Values as JSON has them, as columns that hold every one of them unchanged.

The type of a column is settled by all its values: whole numbers, numbers, true/false, text; lists,
objects and what is mixed with them stay Python objects. A column that mixes text with numbers
becomes text (each number as JSON writes it).
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import numpy as np
import pandas as pd

from dataaudit.datasets.frames import TEXT
from dataaudit.errors import DataError

Kind = Literal["whole", "number", "boolean", "text", "object"]

COLUMNS = 10_000
"""More keys than this are a file whose keys are values; a table of them would fill the memory."""

# Half of a character (a surrogate) can be written in JSON, but not in UTF-8.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Column:
    """What the values of a column have in common, so far."""

    def __init__(self) -> None:
        self.types: set[type] = set()
        self.rows = 0
        self.exact = True
        self.in_64_bits = True

    def see(self, values: list[Any]) -> None:
        """Take the values of another block into account; None is a missing value."""
        types = set(map(type, values))
        present = values if type(None) not in types else [v for v in values if v is not None]
        self.types |= types - {type(None)}
        self.rows += len(present)
        if int in types:
            whole = [value for value in present if type(value) is int]
            low, high = min(whole), max(whole)
            self.exact = self.exact and low >= -(2**53) and high <= 2**53
            self.in_64_bits = self.in_64_bits and low >= -(2**63) and high < 2**63

    def kind(self, rows: int) -> Kind:
        """Return what holds every value unchanged, given the number of rows of the file."""
        complete = self.rows == rows
        if self.types == {int}:
            if complete and self.in_64_bits:
                return "whole"
            return "number" if self.exact else "text"
        if self.types and self.types <= {int, float}:
            return "number" if self.in_64_bits else "text"
        if self.types == {bool} and complete:
            return "boolean"
        if str in self.types and self.types <= {str, int, float, bool}:
            return "text"
        return "object"


def json_object(content: bytes, where: str) -> dict[str, Any]:
    """Return the object that `content` holds.

    Raises
    ------
    DataError
        It is not JSON, no object, has a key twice, or holds half of a character; the message
        begins with `where`.
    """
    try:
        record = json.loads(content, object_pairs_hook=each_key_once)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, thousands of brackets, or a key twice.
        raise DataError(f"{where}: not usable JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"{where}: expected a JSON object {{…}}, found {_json_name(record)}")
    if _SURROGATE.search(content):
        _refuse_half_characters(record, where)
    return record


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, for `object_pairs_hook`.

    Raises
    ------
    ValueError
        A key is given twice: which value was meant, nobody can tell.
    """
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} is given twice")
    return record


def _refuse_half_characters(record: dict[str, Any], where: str) -> None:
    try:
        json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise DataError(f"{where}: \\u{half:04x} is half of a character") from error


def _json_name(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def series(values: list[Any], kind: Kind) -> pd.Series:
    """Return values (None: missing) as a column of the kind that was settled for all of it."""
    if kind == "whole":
        return pd.Series(values, dtype=np.int64)
    if kind == "number":
        return pd.Series(values, dtype=np.float64)
    if kind == "boolean":
        return pd.Series(values, dtype=bool)
    if kind == "text":
        return pd.Series([_as_text(value) for value in values], dtype=TEXT)
    return pd.Series(values, dtype=object)


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)

"""What separates the fields of a text file, and whether its numbers have decimal commas."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dataaudit.datasets.files import readable

SEPARATORS = (",", ";", "\t", "|")
_BYTES_SEEN = 64 * 1024
_RECORDS_SEEN = 10


@dataclass(frozen=True)
class Dialect:
    """How the fields of a file are written.

    Attributes
    ----------
    separator : str
        One of `SEPARATORS`.
    decimal : str
        What stands in a number before its fraction: a point or a comma.
    """

    separator: str = ","
    decimal: str = "."

    @cached_property
    def quoted(self) -> re.Pattern[bytes]:
        """A quoted field up to the quote that closes it, or to the end of the line.

        Possessive, so that the time is linear in the line. A carriage return of its own ends a
        line as well.
        """
        mark = re.escape(self.separator.encode())
        return re.compile(rb"(?:^|(?<=[" + mark + rb'\r]))"(?:[^"]++|"")*+("?)')

    @cached_property
    def field(self) -> re.Pattern[bytes]:
        """A field with what ends it; possessive, so that the time is linear in the line."""
        mark = re.escape(self.separator.encode())
        other = rb"[^" + mark + rb"\r\n]*+"
        return re.compile(
            rb'("(?:[^"]++|"")*+"' + other + rb"|" + other + rb")(" + mark + rb"|\r\n|\n|\r|\Z)"
        )

    def record_continues(self, line: bytes, quoted: bool) -> bool:
        """Tell whether a record goes on after `line` (inside quotes), as pyarrow's parser sees it.

        A quote opens only at the start of a field; inside, two of them are one; after the closing
        one the rest of the field is plain.
        """
        if quoted:
            line = b'"' + line
        elif b'"' not in line:
            return False
        closing = self.quoted.findall(line)
        return bool(closing) and not closing[-1]

    def cell(self, value: str | int) -> bytes:
        """Return a value as a field, in quotes where it has to be."""
        text = io.StringIO()
        # Ends of lines are quoted only where they are the writer's own.
        csv.writer(text, delimiter=self.separator, lineterminator="\r\n").writerow([value])
        return text.getvalue().removesuffix("\r\n").encode("utf-8")


def separator_of(path: Path, description: str) -> str:
    """Return what separates the fields, by the first records of a file.

    It is the comma (in a file that ends in .tsv, the tab) where that parts the names; else the
    first of the others that parts names and records into as many fields each.
    """
    with readable(description, "a text file"), path.open("rb") as file:
        text = file.read(_BYTES_SEEN).decode("utf-8-sig", "replace")
    tabs = path.name.lower().endswith(".tsv")
    order = sorted(SEPARATORS, key=lambda mark: mark != "\t") if tabs else SEPARATORS
    parting = [mark for mark in order if len(_fields(text, mark)[0]) > 1]
    even = [mark for mark in parting if len({len(row) for row in _fields(text, mark)}) == 1]
    return next(iter([*even, *parting]), order[0])


def _fields(text: str, separator: str) -> list[list[str]]:
    """Return the first records, the last one that was seen left out: it may be cut off."""
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for row in reader:
            if row:
                rows.append(row)
            if len(rows) > _RECORDS_SEEN:
                break
    except csv.Error:
        # What is wrong with it is said by the reader proper.
        pass
    return rows[:_RECORDS_SEEN] or [[]]

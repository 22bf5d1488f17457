"""Text from data sets, made inert for where it goes: spreadsheets and terminals.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@`. Such cells get a leading `'`.
Spreadsheets differ in what separates cells (comma, semicolon, tab), so what follows a separator
or a line end inside a cell is treated alike. A cell that already has a `'` (or a `"`, which could
hide a sign) there gets another one; so `without_formulas` can be undone exactly.
"""

from __future__ import annotations

import re

_RISKY = "'\"=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20"
_BEFORE_RISK = re.compile(rf"(?:^|(?<=[;\t\r\n]))(?= *[{_RISKY}])")
_GUARD = re.compile(r"(?:^|(?<=[;\t\r\n]))'")


def without_formulas(text: str) -> str:
    """Return the text with a `'` before whatever a spreadsheet could run."""
    return _BEFORE_RISK.sub("'", text)


def as_it_was(cell: str) -> str:
    """Return the text that `without_formulas` made this cell from."""
    return _GUARD.sub("", cell)


def printable(text: str) -> str:
    """Replace control characters, which a stranger's file could aim at the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def one_line(text: str) -> str:
    """Return `printable(text)` with ends of lines replaced too: a stranger's could forge a line."""
    return printable(text.replace("\n", "\\n"))

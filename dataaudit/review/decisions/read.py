"""Files of decisions, by their ending."""

from __future__ import annotations

from pathlib import Path

from dataaudit.errors import DataError
from dataaudit.review.decisions.csv import read_csv
from dataaudit.review.decisions.label_studio import read_label_studio
from dataaudit.review.decisions.said import Said
from dataaudit.run_directory.store import DECISIONS


def decisions_file(directory: Path, given: Path | None) -> Path:
    """Return the file that was given, or else the one that `review --serve` wrote.

    Raises
    ------
    DataError
        Neither is there.
    """
    if given is not None:
        return given
    path = directory / DECISIONS
    if not path.exists():
        raise DataError(
            f"{path}: is missing; name a file with --decisions, or decide in the page with "
            f"`dataaudit review {directory} --serve`"
        )
    return path


def read_decisions(path: Path) -> list[Said]:
    """Read a file of decisions: `.csv`, or the `.json` that Label Studio exports.

    Rows that nobody has decided about yet are left out.

    Raises
    ------
    DataError
        The file is missing, of another kind, or damaged; it holds no decision.
    """
    readers = {".csv": read_csv, ".json": read_label_studio}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: decisions are read from .csv files, and from the .json that Label Studio "
            f"exports; found {path.suffix or 'no ending'!r}"
        )
    said = reader(path)
    if not said:
        raise DataError(f"{path}: holds no decision yet; nothing to do")
    return said

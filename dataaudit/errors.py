"""The exceptions of dataaudit.

    DataAuditError            what a user can put right; the command line exits with 2
    ├── ConfigError           audit.yaml: a key, a value, or a combination of them
    ├── DataError             a data file: missing, unreadable, a column, a label, a row
    ├── ModelError            the trained model: factory, weights, inputs, outputs
    ├── EngineError           where the forward passes run: workers that die or never start
    └── RunDirectoryError     the directory that an audit writes to or reads from

Every message names the file, key or row, what was found and what was expected. Anything else
that is raised is a defect of dataaudit itself.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path


class DataAuditError(Exception):
    """Base of every error that the user can put right."""


class ConfigError(DataAuditError):
    """`audit.yaml` holds a key or a value that cannot be used."""


class DataError(DataAuditError):
    """A data file, a column, a label or a row cannot be used."""


class ModelError(DataAuditError):
    """The trained model cannot be loaded, or does not fit the data."""


class EngineError(DataAuditError):
    """The processes that run the forward passes cannot be started, or die again and again."""


class RunDirectoryError(DataAuditError):
    """The run directory cannot be written, read or trusted."""


@contextlib.contextmanager
def writing(
    path: Path, error: type[DataAuditError] = RunDirectoryError, deed: str = "written"
) -> Iterator[None]:
    """Say in one message that `path` cannot be written, whatever the system says of it."""
    try:
        yield
    except OSError as found:
        raise error(f"{path}: cannot be {deed}: {found.strerror or found}") from None


def close_match(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` probably was meant to be, or None."""
    by_lower_case = {candidate.lower(): candidate for candidate in sorted(names, reverse=True)}
    found = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1, cutoff=0.6)
    return by_lower_case[found[0]] if found else None

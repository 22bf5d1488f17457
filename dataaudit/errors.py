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
import functools
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


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


def outlives_exits(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function, where `exit()` in code of the user's own is a `ModelError`.

    Passed on, it would end the caller's program, perhaps with the code that means success.
    """

    @functools.wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return function(*arguments, **options)
        except SystemExit as ended:
            place = place_in_users_code(ended.__traceback__) or "code of the model"
            raise ModelError(f"{place} {exit_of(ended)}") from None

    return run


def exit_of(ended: SystemExit) -> str:
    """Return what was done by whoever ended the program."""
    return f"ended the program (exit code {ended.code!r}) before anything was finished"


def place_in_users_code(trace: TracebackType | None) -> str | None:
    """Return the innermost place of a traceback in a file of the user's own, or None."""
    found = None
    for frame, line in traceback.walk_tb(trace):
        if is_users(frame):
            found = f"{frame.f_code.co_filename}, line {line}, in {frame.f_code.co_name}:"
    return found


def is_users(frame: FrameType) -> bool:
    """Tell whether a frame runs a file that is neither dataaudit's nor installed."""
    name = frame.f_code.co_filename
    if name.startswith("<") or "site-packages" in name:
        return False
    library = (Path(__file__).resolve().parent, Path(os.__file__).parent)
    return not any(Path(name).is_relative_to(folder) for folder in library)


def close_match(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` probably was meant to be, or None."""
    by_lower_case = {candidate.lower(): candidate for candidate in sorted(names, reverse=True)}
    found = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1, cutoff=0.6)
    return by_lower_case[found[0]] if found else None

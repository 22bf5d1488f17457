"""How a command ends: with one message and a code that means one thing.

0     done, and the results are in the directory
1     done, and a gate in the file failed; nothing else ends so
2     the input, or the user's own code, cannot be used; the message says whose code did what
3     the engine was lost; the same command with --resume goes on
70    a defect of dataaudit; a traceback for its makers follows the message
130   interrupted with Ctrl-C
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

import typer

from dataaudit.commands.shared import (
    EXIT_BAD_INPUT,
    EXIT_DEFECT,
    EXIT_ENGINE_LOST,
    EXIT_INTERRUPTED,
    print_error,
)
from dataaudit.commands.watching import watched
from dataaudit.errors import (
    ConfigError,
    DataAuditError,
    EngineError,
    exit_of,
    place_in_users_code,
)
from dataaudit.inert import one_line


class _EndedByCodeError(BaseException):
    """Somebody's code called `os._exit`."""


def ends_cleanly(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with every way to end it turned into a message and a code of its own."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        pressed: list[int] = []
        try:
            with _noticed_interrupts(pressed), _kept_alive(), watched():
                command(*arguments, **options)
        except typer.Exit:
            raise
        except BaseException as error:
            raise typer.Exit(_explained(error, was_pressed=bool(pressed))) from None

    return run


def _explained(error: BaseException, *, was_pressed: bool) -> int:
    """Print what ended a command, and return its exit code."""
    if isinstance(error, KeyboardInterrupt) and was_pressed:
        print_error("interrupted", error)
        return EXIT_INTERRUPTED
    if isinstance(error, DataAuditError):
        # Only the settings have several lines to complain of; elsewhere a line may be forged.
        text = str(error) if isinstance(error, ConfigError) else one_line(str(error))
        print_error(text, error)
        return EXIT_ENGINE_LOST if isinstance(error, EngineError) else EXIT_BAD_INPUT
    if _is_out_of_memory(error):
        print_error("out of memory; fewer rows or a smaller batch_size may do", error)
        return EXIT_BAD_INPUT
    if error.__cause__ is not None and place_in_users_code(error.__cause__.__traceback__):
        # Python itself turns a StopIteration into a RuntimeError of the generator around it.
        error = error.__cause__
    place = place_in_users_code(error.__traceback__)
    if place is not None or not isinstance(error, Exception):
        print_error(one_line(f"{place or 'code of the model'} {_deed(error)}"), error)
        return EXIT_BAD_INPUT
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        print_error(one_line(f"{where}{error.strerror or error}"), error)
        return EXIT_BAD_INPUT
    print_error("a defect of dataaudit; please report it with what follows", error)
    traceback.print_exception(error, file=sys.stderr)
    return EXIT_DEFECT


def _deed(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return exit_of(error)
    if isinstance(error, _EndedByCodeError):
        return f"ended the program ({error}) before anything was finished"
    said = " ".join(str(error).split())
    return f"raised {type(error).__name__}{': ' if said else ''}{said}"


def _is_out_of_memory(error: BaseException) -> bool:
    # torch says so by a RuntimeError on the CPU, by a class of its own on other devices.
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


@contextlib.contextmanager
def _noticed_interrupts(pressed: list[int]) -> Iterator[None]:
    """Note that Ctrl-C was pressed, so that no code can pretend it by raising."""
    import pyarrow

    # While it parses, pyarrow puts a handler of its own in place, which loses some interrupts.
    pyarrow.enable_signal_handlers(False)

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _kept_alive() -> Iterator[None]:
    """Keep this process from ending without a word: `os._exit(0)` would look like success."""
    own, end = os.getpid(), os._exit

    def refuse(status: int) -> NoReturn:
        if os.getpid() != own:
            # Of a process that was forked, where this is the proper way.
            end(status)
        raise _EndedByCodeError(f"os._exit({status!r})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = end

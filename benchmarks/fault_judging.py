"""Commands run in this process, and whether they ended as they should."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import signal
import sys
import traceback
import warnings
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from dataaudit import cli

LONGEST_SECONDS = 60
"""Of the processor's time, so that a busy machine makes no hang."""
LONGEST_WAIT = 600
"""Seconds by the clock."""
LONGEST_MESSAGE = 2100
"""Characters: 2,000 and the name of the program before them."""
SHORT = {
    "verify": ["--groups", "4", "--repeats", "1", "--epochs", "1"],
    "memorization": ["--draws", "2", "--passes", "1"],
    "influence": ["--kind", "head"],
}
"""What makes a study short."""


class Hang(BaseException):
    """A command took longer than it may."""


@dataclass(frozen=True)
class Ending:
    """How a command ended: its exit code (or "hang", "traceback"), and what it printed."""

    code: object
    out: str
    message: str


@contextlib.contextmanager
def alarm() -> Iterator[None]:
    """Let commands that take too long raise `Hang`; let none open a browser."""

    def ring(*_: object) -> None:
        raise Hang

    before = {kind: signal.signal(kind, ring) for kind in (signal.SIGALRM, signal.SIGPROF)}
    open_before, webbrowser.open = webbrowser.open, lambda *_, **__: True
    app_before = cli.app
    # The commands are put together once, not for each of thousands.
    cli.app = typer.main.get_command(app_before)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        webbrowser.open = open_before
        cli.app = app_before


def call(arguments: list[str]) -> Ending:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    before, folder = sys.argv, Path.cwd()
    # Cases follow each other in one place: warnings would show lines of the last one.
    linecache.clearcache()
    signal.alarm(LONGEST_WAIT)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)
    try:
        sys.argv = ["dataaudit", *arguments]
        # Entered anew, so that a warning is shown again for each command.
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            cli.main()
        code: object = 0
    except SystemExit as stopped:
        code = stopped.code or 0
    except Hang:
        code = "hang"
    except BaseException:
        return Ending("traceback", "", traceback.format_exc())
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.argv = before
        os.chdir(folder)
    # What the user's code printed before it closed stdout cannot be had back.
    written = "" if out.closed else out.getvalue()
    return Ending(code, written, "" if err.closed else err.getvalue())


def judged(ended: Ending) -> str:
    """Say whether a command ended as it should, not looking at what it wrote."""
    message = _without_users_words(ended.message)
    if ended.code in (0, 1):
        return "done" if not message else "lost: words beside success"
    if ended.code != 2:
        return f"lost: exit code {ended.code}"
    lines = message.rstrip("\n").split("\n")
    one = lines[0].startswith("dataaudit: ") and all(map(_belongs, lines[1:]))
    if not one or "Traceback" in message:
        return "lost: not one message"
    return "refused" if len(message) <= LONGEST_MESSAGE else "lost: a message without end"


def _belongs(line: str) -> bool:
    """Whether a further line is one more setting, or says how to go on."""
    return line.startswith((" ", "What was finished is kept"))


def _without_users_words(message: str) -> str:
    """Leave out what `fault_spoils.spoil_code` lets the user's code print and warn of."""
    lines = message.split("\n")
    kept = []
    for before, line in zip(["", *lines], lines, strict=False):
        # A warning shows its line of code below; the interpreter warns of code that cannot work.
        said = before + line
        own = "faulty_model.py" in said and "SyntaxWarning: " in said
        if line != "hello" and "UserWarning: hello" not in said and not own:
            kept.append(line)
    return "\n".join(kept)

"""While a command works: what it waits for, when it waits long, and where prints of others go."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from dataaudit import progress
from dataaudit.errors import is_users
from dataaudit.inert import one_line

SECONDS_OF_PATIENCE = 60
SECONDS_BETWEEN_LOOKS = 1.0
_PACKAGE = Path(__file__).resolve().parent.parent
_own: list[TextIO] = []
"""What stdout was before prints of others were sent elsewhere."""


class _KeptOpen:
    """A stream to which others may write, and which they cannot close: errors are told there."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _KeptOpen:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, text: str) -> int:
        return self._stream.write(text)

    def close(self) -> None:
        self._stream.flush()


def own_stdout() -> TextIO:
    """Return where dataaudit itself prints its results."""
    return _own[-1] if _own else sys.stdout


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Say on stderr after a minute without progress where it stands; stdout stays dataaudit's own.

    Whatever the user's code prints goes to stderr, and nothing that it closes is closed.
    """
    done = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(threading.get_ident(), done), name="dataaudit-watch", daemon=True
    )
    watcher.start()
    _own.append(sys.stdout)
    try:
        others = _KeptOpen(sys.stderr)
        with contextlib.redirect_stdout(others), contextlib.redirect_stderr(others):
            yield
    finally:
        _own.pop()
        done.set()
        watcher.join()


def _watch(thread: int, done: threading.Event) -> None:
    before: tuple[object, ...] = ()
    looks = 0
    while not done.wait(SECONDS_BETWEEN_LOOKS):
        # No frame is kept until the next look: what its variables hold would end here, in this
        # thread, and Ray ends the process when a reference of its goes while it is being left.
        now = _standing(sys._current_frames().get(thread))
        looks = looks + 1 if now == before else 0
        before = now
        if looks and looks % round(SECONDS_OF_PATIENCE / SECONDS_BETWEEN_LOOKS) == 0:
            seconds = round(looks * SECONDS_BETWEEN_LOOKS)
            where = _where(sys._current_frames().get(thread))
            said = one_line(f"dataaudit: no progress for {seconds} s: in {where}")
            print(said, file=sys.stderr, flush=True)


def _standing(frame: FrameType | None) -> tuple[object, ...]:
    """Return what stays the same while nothing moves: all calls, and the last step of progress."""
    calls: list[object] = [progress.steps()]
    innermost = True
    while frame is not None:
        # A loop that waits goes round among a few instructions of the innermost call.
        calls.append((id(frame), frame.f_code, None if innermost else frame.f_lasti))
        innermost = False
        frame = frame.f_back
    return tuple(calls)


def _where(frame: FrameType | None) -> str:
    """Return the innermost call in the user's own code, or else in dataaudit."""
    ours = None
    while frame is not None:
        place = f"{frame.f_code.co_name} ({frame.f_code.co_filename}, line {frame.f_lineno})"
        if frame.f_code.co_filename.startswith(str(_PACKAGE)):
            return ours or place
        if is_users(frame) and ours is None:
            ours = place
        frame = frame.f_back
    return ours or "the start"

"""Progress on stderr: bars in a terminal, elsewhere a line now and then, with the time left."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")

SECONDS_APART = 30.0
"""Between two lines where stderr is no terminal; what is done sooner writes none."""
LEARNING = 3
"""To learn a row costs about as much as so many forward passes of it."""

_console = Console(stderr=True)
_shown: set[str] = set()
"""The bar on the screen, if any: a bar inside another one stays silent."""
_run = [0]
_audits: list[Whole] = []
"""The audit that is running, if any."""


def count_rows(rows: int) -> None:
    """Count rows that a model has run, in forward passes of one row."""
    _run[0] += rows


def rows_run() -> int:
    """Return the forward passes of one row that this process has counted."""
    return _run[0]


class Whole:
    """A whole audit: which stages it has, how much work each is, and what is done.

    The time left takes all work for equally quick: an estimate, and shown as one ("about").

    Parameters
    ----------
    work : mapping of str to float
        The stages in their order, and how many passes over the training rows each is expected to
        take. Empty where that is not known: no time left is shown then.
    """

    def __init__(self, work: Mapping[str, float] | None = None) -> None:
        self._work = dict(work or {})
        self._began = self._written = self._stage_began = time.monotonic()
        self._finished = 0.0
        self._stage = ""
        self._rows = 0
        self._rows_before = 0
        self._share = 0.0
        self._doing = ""
        self._writing = threading.Lock()

    def expect(self, work: Mapping[str, float], rows: int) -> None:
        """Say what some stages take, once it is known better.

        Parameters
        ----------
        work : mapping of str to float
            Passes over the training rows; the stage that runs may be one of them.
        rows : int
            Training rows, by which the passes of these stages are counted.
        """
        self._work |= work
        self._rows = rows

    def expect_more(self, rows: float) -> None:
        """Say how many more forward passes of one row the stage that runs takes."""
        if self._rows and self._stage in self._work:
            counted = rows_run() - self._rows_before
            self._work[self._stage] = (counted + rows) / self._rows

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Take what runs inside for the stage `name`."""
        self._stage, self._share, self._rows_before = name, 0.0, rows_run()
        self._doing, self._stage_began = "", time.monotonic()
        _audits.append(self)
        over = threading.Event()
        threading.Thread(target=self._remind, args=(over,), name="progress", daemon=True).start()
        try:
            self.say(begins=True)
            yield
        finally:
            over.set()
            _audits.remove(self)
        self._finished += self._work.get(name, 0.0)

    def seconds_left(self) -> float | None:
        """Return about how many seconds the rest takes; None where nothing can be said yet."""
        work = self._work.get(self._stage, 0.0)
        share = self._share
        if self._rows and work:
            counted = (rows_run() - self._rows_before) / (work * self._rows)
            share = max(share if counted == 0 else 0.0, counted)
        done = self._finished + min(share, 1.0) * work
        if done <= 0:
            return None
        # Where nothing tells how far a stage is, the time that it takes says nothing of its speed.
        now = time.monotonic()
        until = now if share > 0 else self._stage_began
        left = (until - self._began) * (sum(self._work.values()) - done) / done - (now - until)
        return left if left > 0 or share > 0 else None

    def left(self) -> str:
        """Return the time left in words, empty where nothing can be said."""
        seconds = self.seconds_left()
        return "" if seconds is None else f"audit: about {_words(seconds)} left"

    def step(self, description: str, done: int, total: int | None) -> None:
        """Take note of a step of a loop, and write a line where it is time for one."""
        if total:
            self._share = done / total
        self._doing = f": {description}, {done:,}{f' of {total:,}' if total else ''}"
        self.say()

    def _remind(self, over: threading.Event) -> None:
        """Write a line every so often, also where one step or none takes longer than that."""
        while not over.wait(min(max(SECONDS_APART, 1.0), threading.TIMEOUT_MAX)):
            self.say()

    def say(self, begins: bool = False) -> None:
        """Write a line: of the stage that begins, or of what goes on where the last line is old."""
        with self._writing:
            now = time.monotonic()
            if _console.is_terminal or now - self._began < SECONDS_APART:
                return
            # Every stage has a line of its own; within one they keep their distance.
            if not begins and now - self._written < SECONDS_APART:
                return
            self._written = now
            stages = list(self._work)
            place = ""
            if self._stage in stages:
                place = f" ({stages.index(self._stage) + 1} of {len(stages)})"
            left = self.left()
            line = f"{_words(now - self._began)}: {self._stage}{place}{self._doing}"
            _console.print(
                f"{line}{left and '; '}{left}", highlight=False, markup=False, soft_wrap=True
            )


_steps = 0


def steps() -> int:
    """Return how many steps of work have been done in all, whether shown or not."""
    return _steps


def count_step() -> None:
    """Count a step of work that is no part of a loop over items."""
    global _steps
    _steps += 1


def _counted(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        count_step()


def expect_more(rows: float) -> None:
    """Say how many more forward passes of one row the running stage takes, once it is known."""
    if _audits:
        _audits[-1].expect_more(rows)


def is_watched() -> bool:
    """Tell whether somebody looks at stderr."""
    return _console.is_terminal


def announce(lines: Iterable[str]) -> None:
    """Print lines on stderr."""
    for line in lines:
        _console.print(line, markup=False, highlight=False)


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items` while showing a bar, or a line now and then where stderr is no terminal.

    Parameters
    ----------
    items : iterable
    description : str
    total : int or None
        Number of items; None asks `len(items)`.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if _shown:
        yield from _counted(items)
        return
    _shown.add(description)
    audit = _audits[-1] if _audits else None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[left]}"),
    )
    try:
        with Progress(
            *columns, console=_console, transient=True, disable=not _console.is_terminal
        ) as progress:
            task = progress.add_task(description, total=total, left="")
            for done, item in enumerate(_counted(items), start=1):
                yield item
                if audit is not None:
                    audit.step(description, done, total)
                progress.update(task, advance=1, left="" if audit is None else audit.left())
    finally:
        _shown.discard(description)


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""Progress bars with the time left, on stderr, so that stdout stays clean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
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

_console = Console(stderr=True)
_shown: set[str] = set()
"""The bar on the screen, if any: a bar inside another one stays silent."""


_steps = 0


def steps() -> int:
    """Return how many steps of work have been done in all, whether shown or not."""
    return _steps


def _counted(items: Iterable[Item]) -> Iterator[Item]:
    global _steps
    for item in items:
        yield item
        _steps += 1


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items` while showing a bar; silent where stderr is no terminal.

    Parameters
    ----------
    items : iterable
    description : str
    total : int or None
        Number of items; None asks `len(items)`.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    if _shown:
        yield from _counted(items)
        return
    _shown.add(description)
    try:
        with Progress(
            *columns, console=_console, transient=True, disable=not _console.is_terminal
        ) as progress:
            task = progress.add_task(description, total=total)
            for item in _counted(items):
                yield item
                progress.advance(task)
    finally:
        _shown.discard(description)

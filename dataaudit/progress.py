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


def is_watched() -> bool:
    """Tell whether somebody looks at stderr."""
    return _console.is_terminal


def announce(lines: Iterable[str]) -> None:
    """Print lines on stderr."""
    for line in lines:
        _console.print(line, markup=False, highlight=False)


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
        yield from items
        return
    _shown.add(description)
    try:
        with Progress(
            *columns, console=_console, transient=True, disable=not _console.is_terminal
        ) as progress:
            task = progress.add_task(description, total=total)
            for item in items:
                yield item
                progress.advance(task)
    finally:
        _shown.discard(description)

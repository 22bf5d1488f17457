"""Work on many items in parts: in as many threads as matrix products would take, or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from threadpoolctl import threadpool_info, threadpool_limits

from dataaudit.progress import track

Result = TypeVar("Result")
Elsewhere = Callable[[Callable[[slice], Any], Sequence[slice], str], Iterator[Any]]
"""Does work on parts, described in words, and yields the results in their order."""

_elsewhere: ContextVar[Elsewhere | None] = ContextVar("elsewhere", default=None)


@contextmanager
def parts_done_by(elsewhere: Elsewhere) -> Iterator[None]:
    """Have work in parts done by other processes, inside the `with` block; results are the same."""
    before = _elsewhere.set(elsewhere)
    try:
        yield
    finally:
        _elsewhere.reset(before)


def is_done_elsewhere() -> bool:
    """Tell whether other processes do work in parts."""
    return _elsewhere.get() is not None


def parts_of(items: int, length: int) -> list[slice]:
    """Return slices of `length` that follow each other; the last may be shorter."""
    return [slice(start, min(start + length, items)) for start in range(0, items, length)]


def one_by_one(
    work: Callable[[slice], Result], parts: Sequence[slice], description: str
) -> Iterator[Result]:
    """Yield what `work` makes of each part, in their order: one after the other, or elsewhere.

    For work that gains nothing from threads. Arguments as in `in_parts`.
    """
    elsewhere = _elsewhere.get()
    if elsewhere is None:
        return map(work, track(parts, description))
    return elsewhere(work, parts, description)


def in_parts(
    work: Callable[[slice], Result], items: int, length: int, description: str
) -> list[Result]:
    """Return what `work` makes of each part, in their order; see `each_in_parts`."""
    return list(each_in_parts(work, items, length, description))


def each_in_parts(
    work: Callable[[slice], Result], items: int, length: int, description: str
) -> Iterator[Result]:
    """Yield what `work` makes of each part, in their order.

    Parts are worked on in as many threads as the library for matrix products would take
    (`OMP_NUM_THREADS` and the like), which takes one in each meanwhile. Parts are the same for
    any number of threads, and so are results.

    Parameters
    ----------
    work : callable
        Called in several threads at once, or in another process: it changes nothing but returns.
    items : int
    length : int
        Items of a part; as many parts as there are threads are in memory at once.
    description : str
        What is done, for the progress.
    """
    parts = parts_of(items, length)
    elsewhere = _elsewhere.get()
    if elsewhere is not None:
        yield from elsewhere(work, parts, description)
        return
    found = [library["num_threads"] for library in threadpool_info()]
    threads = max(1, min(max(found, default=1), len(parts)))
    with threadpool_limits(1), ThreadPoolExecutor(threads, "in-parts") as pool:
        yield from track(pool.map(work, parts), description, total=len(parts))

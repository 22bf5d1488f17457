"""Prefetching: the next items are made in threads while the present one is used."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class _End:
    """Behind the last item; holds the exception where making an item failed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetched(items: Iterable[Item], ahead: int = 2) -> Generator[Item]:
    """Yield `items` in their order, made in another thread, at most `ahead` before they are used.

    Reading, decoding and preprocessing let go of Python's lock for most of their time, so that a
    thread is enough; rows need not be sent to another process.

    Parameters
    ----------
    items : iterable
        Used by that thread alone.
    ahead : int
        Items that wait, and are held in memory, at most.

    Raises
    ------
    Exception
        Whatever making an item raised, where that item would have come.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(maxsize=ahead)
    stopped = threading.Event()

    def put(item: Item | _End) -> None:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def fill() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        except BaseException as error:
            put(_End(error))
        else:
            put(_End())

    worker = threading.Thread(target=fill, name="prefetch", daemon=True)
    worker.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        worker.join()


def made_ahead(
    make: Callable[[Item], Made], items: Iterable[Item], workers: int = 1
) -> Iterator[tuple[Item, Made]]:
    """Yield each item with what `make` makes of it, in their order, made in other threads.

    Parameters
    ----------
    make : callable
        Called in several threads at once where there are several workers.
    items : iterable
        Used by one thread alone.
    workers : int
        Threads that make; so many items, and two, are held in memory at most beside the present.

    Raises
    ------
    Exception
        Whatever an item or `make` raised, where that item would have come.
    """
    if workers == 1:
        yield from prefetched((item, make(item)) for item in items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    waiting: deque[tuple[Item, Future[Made]]] = deque()
    try:
        for item in prefetched(items):
            waiting.append((item, pool.submit(make, item)))
            if len(waiting) > workers:
                first, made = waiting.popleft()
                yield first, made.result()
        while waiting:
            first, made = waiting.popleft()
            yield first, made.result()
    finally:
        pool.shutdown(cancel_futures=True)

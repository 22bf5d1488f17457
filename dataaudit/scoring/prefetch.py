"""Prefetching: the next items are made in a thread while the present one is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


class _End:
    """Behind the last item; holds the exception where making an item failed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetched(items: Iterable[Item], ahead: int = 2) -> Iterator[Item]:
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

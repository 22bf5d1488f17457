"""Work on many items in parts, in as many threads as matrix products would take."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_info, threadpool_limits

from dataaudit.progress import track

Result = TypeVar("Result")


def in_parts(
    work: Callable[[slice], Result], items: int, length: int, description: str
) -> list[Result]:
    """Return what `work` makes of each part, in their order.

    Parts are worked on in as many threads as the library for matrix products would take
    (`OMP_NUM_THREADS` and the like), which takes one in each meanwhile. Parts are the same for
    any number of threads, and so are results.

    Parameters
    ----------
    work : callable
        Called in several threads at once.
    items : int
    length : int
        Items of a part; as many parts as there are threads are in memory at once.
    description : str
        What is done, for the progress.
    """
    parts = [slice(start, min(start + length, items)) for start in range(0, items, length)]
    found = [library["num_threads"] for library in threadpool_info()]
    threads = max(1, min(max(found, default=1), len(parts)))
    with threadpool_limits(1), ThreadPoolExecutor(threads, "in-parts") as pool:
        return list(track(pool.map(work, parts), description, total=len(parts)))

"""How much memory a measurement takes at growing numbers of rows, each in a process of its own.

The meter is VmHWM of /proc/self/status, the most memory that a process has held; ru_maxrss is no
good here, because a child starts with its parent's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path


def peak_kilobytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    raise RuntimeError("no VmHWM in /proc/self/status")


class Held:
    """The most memory of its own (RssAnon) that the process has held since, asked for all the time.

    Pages of files do not count: they are given back when others need the memory.
    """

    def __enter__(self) -> Held:
        self.before = self.most = _own_kilobytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._done.wait(0.005):
            self.most = max(self.most, _own_kilobytes())


def _own_kilobytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1])
    raise RuntimeError("no RssAnon in /proc/self/status")


def sizes(rows: int) -> Iterator[int]:
    """Yield a hundredth and a tenth of the rows, and all."""
    yield from (rows // 100, rows // 10, rows)


def measured(*command: str) -> list[str]:
    """Run a Python script in a process of its own, and return the words that it prints."""
    result = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    return result.stdout.split()


def print_growth(script: str, write: Callable[[Path, int], None], rows: int) -> None:
    """Print the peak of each size, the ratio to the smallest, and rows a second.

    Parameters
    ----------
    script : str
        Run with `--score PATH`; prints rows, peak in kilobytes, seconds, and what it found.
    write : callable
        Writes so many rows to a Parquet file.
    rows : int
    """
    smallest = 0
    for size in sizes(rows):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "train.parquet"
            write(path, size)
            count, peak, seconds, _ = measured(script, "--score", str(path))
        smallest = smallest or int(peak)
        print(
            f"{int(count):>9} rows: peak {int(peak) / 1024:.0f} MiB, "
            f"{int(peak) / smallest:.3f} of the smallest, {int(count) / float(seconds):.0f} rows/s",
            flush=True,
        )

"""How long the search for leaks takes, and what it holds in memory, as training sets grow.

    python benchmarks/leak_search_scale.py
    python benchmarks/leak_search_scale.py --kinds tables --rows 10000 100000 1000000

Each size runs in a process of its own. Rows beyond the data's own are mixtures of two images, or
table rows with other numbers; the suspects are edited copies of pictures, or rows. Time is that of
the CPU; memory is the most that the process has held (VmHWM), what describes the rows included.
Of more than 10,000 pictures the search by cells is measured; suspects whose row it misses are
searched through all rows, too, so that what the cells lose of all suspects is known.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from small_network import decode

from dataaudit.likeness import matching
from dataaudit.likeness.descriptors import (
    Descriptors,
    ImageDescriptors,
    IndexArray,
    TableDescriptors,
)
from dataaudit.likeness.images import ImageRows
from dataaudit.likeness.matching import FEW_ROWS, Matcher
from dataaudit.likeness.tables import TableRows, describe_table

DATA = Path(__file__).parents[1] / ".." / "shared" / "data"
SUSPECTS, COMPARED, SAMPLED_ROWS = 5000, 100, 8192


def pictures(rows: int) -> Descriptors:
    real = decode(pd.read_parquet(DATA / "cifar10n_train.parquet", columns=["image"])["image"])
    generator = np.random.default_rng(0)
    thumbnails = np.empty((rows, 32, 32, 3), np.uint8)
    for start in range(0, rows, 4096):
        part = thumbnails[start : start + 4096]
        first, second = generator.integers(0, len(real), (2, len(part)))
        part[...] = real[first] // 2 + real[second] // 2
    return ImageDescriptors(thumbnails)


def people(rows: int) -> Descriptors:
    real = pd.read_parquet(DATA / "adult.parquet")
    generator = np.random.default_rng(0)
    table = real.iloc[generator.integers(0, len(real), rows)].reset_index(drop=True)
    table["fnlwgt"] = generator.permutation(table["fnlwgt"].to_numpy())
    return describe_table(table)


def measure(kind: str, rows: int) -> None:
    """Print the cost of one size, in CPU seconds."""
    described = {"images": pictures, "tables": people}[kind](rows)
    generator = np.random.default_rng(1)
    sources = generator.choice(rows, min(SUSPECTS, rows // 2), replace=False)
    started = time.process_time()
    matcher = Matcher(described)
    suspects, found = described.take(sources), ""
    if isinstance(described, ImageDescriptors):
        prepared = ImageRows(described, 3)
        suspects = prepared.copies(sources, generator)
    if isinstance(described, ImageDescriptors) and rows > FEW_ROWS:
        # Cells, and how many are enough: done once, whatever the number of suspects.
        matching.MOST_PICTURE_PAIRS = 0
        matcher.candidates(suspects.take(np.arange(1)))
        once = time.process_time() - started
    else:
        some = described.take(np.arange(min(rows, SAMPLED_ROWS)))
        prepared_in = time.process_time() - started
        started = time.process_time()
        _vectors(some)
        # The same work for every row, whatever the number of suspects.
        once = prepared_in + (time.process_time() - started) / len(some) * rows
    started = time.process_time()
    candidates = matcher.candidates(suspects)
    elapsed = time.process_time() - started
    by_cells = bool(matcher.notes)
    searched = max(elapsed - (0.0 if by_cells else once), 0.0) / len(sources)
    if by_cells:
        found = f"; {_lost(matcher, suspects, sources, candidates)}; {matcher.notes[0]}"
    few = np.arange(COMPARED)
    started = time.process_time()
    matcher.compare(suspects.take(few), candidates[:COMPARED])
    compared = (time.process_time() - started) / COMPARED
    status = Path("/proc/self/status").read_text()
    peak = int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1]) / 2**20
    hours = (once + 100_000 * (searched + compared)) / 3600
    print(
        f"{kind:7} {rows:9,} rows: once {once:6.1f} s; a suspect {1000 * searched:7.2f} ms to "
        f"search, {1000 * compared:6.2f} ms to compare; peak {peak:.2f} GiB; 100,000 suspects "
        f"would take {hours:.1f} CPU hours{found}",
        flush=True,
    )


def _lost(
    matcher: Matcher, suspects: Descriptors, sources: IndexArray, by_cells: IndexArray
) -> str:
    """Say what the search by cells loses, of what a search through all rows finds."""
    missed = np.flatnonzero((by_cells != sources[:, None]).all(axis=1))
    found = len(sources) - len(missed)
    if len(missed) == 0:
        return f"all {found} found their row"
    matching.MOST_PICTURE_PAIRS = 10**18
    exact = matcher.candidates(suspects.take(missed))
    lost = int((exact == sources[missed, None]).any(axis=1).sum())
    return (
        f"{found} of {len(sources)} found their row, and {lost} more would have through all rows: "
        f"{lost / len(sources):.4f} lost"
    )


def _vectors(rows: Descriptors) -> None:
    if isinstance(rows, ImageDescriptors):
        ImageRows(rows, 3).vectors(slice(None))
    elif isinstance(rows, TableDescriptors):
        TableRows(rows).vectors(slice(None))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", default=["images", "tables"])
    parser.add_argument("--rows", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (DATA / "adult.parquet").exists():
        parser.exit(2, f"{DATA.resolve()}: holds no adult.parquet; the data must lie there\n")
    for kind in options.kinds:
        for rows in options.rows:
            if options.one:
                measure(kind, rows)
            else:
                command = [sys.executable, __file__, "--one", "--kinds", kind, "--rows", str(rows)]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

"""How long `dataaudit run` takes on files alone, without a model: a table, and texts.

    python benchmarks/bare_files.py [ROWS]

ROWS training rows (100,000), 6,000 trusted and 6,000 suspects. The table has the census columns of
../shared/data (Adult) with noise in its numbers, so that rows differ; the texts are random words.
Prints seconds of a clock and of the processors, and the largest memory, of the whole command.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
OTHERS = 6_000


def table(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    adult = pd.read_parquet(DATA / "adult.parquet")
    frame = adult.iloc[generator.integers(0, len(adult), rows)].reset_index(drop=True)
    numbers = frame.select_dtypes("number").columns
    noise = generator.normal(size=(rows, len(numbers))) * adult[numbers].std().to_numpy() / 20
    frame[numbers] = (frame[numbers] + noise).round(3)
    return frame.rename(columns={"income": "label"})


def texts(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    words = np.array([f"word{number}" for number in range(5_000)])
    lengths = generator.integers(8, 40, rows)
    drawn = [" ".join(words[generator.zipf(1.3, length) % 5_000]) for length in lengths]
    return pd.DataFrame({"text": drawn, "label": generator.choice(["a", "b"], rows)})


def main(rows: int) -> None:
    for name, make in (("table", table), ("texts", texts)):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            for seed, (split, count) in enumerate(
                {"train": rows, "held_out": OTHERS, "suspects": OTHERS}.items()
            ):
                frame = make(count, np.random.default_rng(seed))
                frame.to_csv(place / f"{split}.csv", index=False)
            lines = [
                f"{split}: {{path: {split}.csv}}" for split in ("train", "held_out", "suspects")
            ]
            (place / "audit.yaml").write_text("\n".join(["name: bare", *lines]), encoding="utf-8")
            command = ["run", str(place / "audit.yaml"), "--out", str(place / "audit")]
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "dataaudit", *command], check=True, capture_output=True
            )
            seconds, after = (
                time.monotonic() - started,
                resource.getrusage(resource.RUSAGE_CHILDREN),
            )
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(
                f"{name}, {rows:,} rows: {seconds:.0f} s, {spent:.0f} CPU s, "
                f"{after.ru_maxrss / 1024:.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

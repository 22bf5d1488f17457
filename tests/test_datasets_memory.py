"""Memory stays bounded by the block, not by the file: measured in a process of its own."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

# 120 MB of text; ids and labels of these rows take 1 MB.
ROWS = 60_000
TEXT_BYTES = 2_000
MEASURE = """
import sys
from pathlib import Path
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings

def peak():
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

before = peak()
samples = open_samples(Path(sys.argv[1]), ReadSettings("train", "label"))
rows = sum(len(batch) for batch in samples.batches(1000))
assert rows == len(samples), rows
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak is read from /proc")
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    write(path)
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert measured.returncode == 0, measured.stderr
    assert float(measured.stdout) < 60, "MiB beyond what the imports take"


def write(path: Path) -> None:
    """Write the rows; Parquet in one row group and uncompressed."""
    letters = "".join(random.Random(0).choices("abcdefgh ,", k=TEXT_BYTES))

    def piece(start: int, rows: int) -> pa.Table:
        text = [f"{row} {letters}" for row in range(start, start + rows)]
        return pa.table({"text": text, "label": [row % 3 for row in range(rows)]})

    if path.suffix == ".csv":
        with pyarrow.csv.CSVWriter(path, piece(0, 1).schema) as writer:
            for start in range(0, ROWS, 1000):
                writer.write_table(piece(start, 1000))
    else:
        pyarrow.parquet.write_table(
            piece(0, ROWS), path, row_group_size=ROWS, compression="none", use_dictionary=False
        )

"""How long importing takes, beside torch and pandas; each in processes of its own.

    python -m benchmarks.import_time

Prints the median of user and system time: on a loaded machine it says more than the wall clock.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

STATEMENTS = {
    "torch and pandas": "import torch, pandas",
    "dataaudit": "import dataaudit",
    "dataaudit.audit": "from dataaudit import audit",
}


def seconds(statement: str) -> float:
    before = os.times()
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7, help="processes for each statement")
    times = parser.parse_args().times
    for statement in STATEMENTS.values():
        seconds(statement)  # so that all files are in the cache
    medians = {
        name: statistics.median(seconds(statement) for _ in range(times))
        for name, statement in STATEMENTS.items()
    }
    for name, value in medians.items():
        print(f"{name:<18} {value:6.2f} s  {value / medians['torch and pandas']:5.2f}")


if __name__ == "__main__":
    main()

"""Boxes: what they are as text and in COCO files, the loss of a picture, and the whole way."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine

TASKS = Path(__file__).resolve().parent.parent / "docs" / "tasks.md"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the example in the document."""
    folder = tmp_path_factory.mktemp("shapes")
    section = TASKS.read_text(encoding="utf-8").split("## Boxes in pictures\n")[1].split("\n## ")[0]
    for block in re.findall(r"```\w+\n(# (\S+)\n.*?)```", section, flags=re.DOTALL):
        (folder / block[1]).write_text(block[0], encoding="utf-8")
    subprocess.run([sys.executable, "prepare.py"], cwd=folder, check=True)
    return folder


def test_boxes_from_the_run_to_a_second_audit_with_fewer_flags(
    shapes: Path, command_line: CommandLine
) -> None:
    out = shapes / "run"
    outcome = command_line("run", shapes / "audit.yaml", "--out", out)
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(out / "mislabels.parquet")
    spoiled = np.loadtxt(shapes / "spoiled.txt", dtype=int)
    print(table[table["flagged"]].to_string())
    print(np.isin(table.index[table["flagged"]], spoiled).mean(), table["flagged"][spoiled].mean())
    print((out / "audit.json").read_text()[:3000])

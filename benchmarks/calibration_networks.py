"""Are decisions about a network's labels right? Whole audits of small ones, claims against truth.

    python benchmarks/calibration_networks.py --cells 'digits/*'

As calibration.py, but the model is a torch network that learned the rows itself, until it knew them
by heart or only for a few rounds, and each cell is a whole audit of labels. Finished cells are kept
in `benchmarks/results/calibration_networks.json`, from which the next run goes on; the table is
beside it. Nothing was tuned on these cells.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from calibration import (
    as_line,
    claimed_and_true,
    ends_of,
    finished_before,
    precision,
    summary,
)
from calibration_cells import Cell, make_problem
from mislabel_training import replaced
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import dataaudit

HERE = Path(__file__).parent
WORDS, LENGTH = 2000, 32
MANY, FEW = 60, 4
"""Rounds through the rows: known by heart, and stopped early."""


class Pictures(nn.Module):
    """A small convolutional network on 8 x 8 digits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(768, classes),
        )  # fmt: skip

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, `[rows, C]`."""
        found: Tensor = self.layers(inputs.reshape(-1, 1, 8, 8))
        return found


class Reader(nn.Module):
    """A transformer of one layer; 0 is no word."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 48)
        self.places = nn.Parameter(0.02 * torch.randn(LENGTH, 48))
        self.layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True)
        self.head = nn.Linear(48, classes)

    def forward(self, words: Tensor) -> Tensor:
        """Return logits, `[rows, C]`."""
        there = (words > 0).float()[:, :, None]
        found = self.layer(self.words(words) + self.places)
        logits: Tensor = self.head((found * there).sum(dim=1) / there.sum(dim=1).clamp(min=1))
        return logits


def perceptron(width: int, classes: int) -> nn.Module:
    """Return one hidden layer."""
    return nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, classes))


def _cells() -> list[Cell]:
    data = {"adult": "perceptron", "cancer": "perceptron", "digits": "pictures", "sms": "reader"}
    kinds = ((0.0, "uniform"), (0.05, "uniform"), (0.2, "uniform"), (0.1, "confusable"),
             (0.1, "rule"), (0.2, "pair"))  # fmt: skip
    trusted = (600, 200, 50)
    return [
        Cell(name, f"{model}-{how}", rate, kind, trusted[(first + second) % 3], first, False)
        for first, (name, model) in enumerate(data.items())
        for second, (rate, kind) in enumerate(kinds)
        for how in [("by-heart", "stopped")[(first + second) % 2]]
    ]


LATER = """
digits/pictures-by-heart/0.2/pair/600 digits/pictures-stopped/0.1/rule/200
digits/pictures-stopped/0.0/uniform/600 digits/pictures-by-heart/0.1/uniform/600
adult/perceptron-stopped/0.2/pair/600 adult/perceptron-by-heart/0.1/rule/600
adult/perceptron-stopped/0.0/uniform/200 cancer/perceptron-stopped/0.2/pair/200
lines/reader-by-heart/0.2/pair/600 lines/reader-stopped/0.1/rule/600
lines/reader-by-heart/0.1/uniform/200 sms/reader-by-heart/0.1/rule/600
"""
"""Cells that were named after the first ones had shown that networks learn some errors."""


def _later_cells() -> list[Cell]:
    parts = [name.split("/") for name in LATER.split()]
    return [
        Cell(data, model, float(rate), kind, int(trusted), 11 + number, False)
        for number, (data, model, rate, kind, trusted) in enumerate(parts)
    ]


FIRST, LAST = _cells(), _later_cells()
CELLS = [*FIRST, *LAST]


def measured(cell: Cell, rows: int, data: Path) -> dict[str, Any]:
    """Train a network on a cell's rows, audit it, and return claims and truth."""
    problem = make_problem(cell_of_data(cell), rows, data)
    prepare, frames = _frames(problem)
    classes = int(max(problem.right.max(), problem.given.max())) + 1
    model = trained(cell, prepare(frames[0]), torch.tensor(problem.given), classes)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = dataaudit.audit(
            model,
            frames[0].assign(label=problem.given),
            frames[1].assign(label=problem.trusted_labels) if cell.trusted else None,
            preprocess=prepare,
            classes=list(range(classes)),
            mirror={"seed": cell.seed},
            out=Path(folder) / "audit",
        )
    labels, wrong = result.report.labels, problem.given != problem.right
    with torch.no_grad():
        logits = model(prepare(frames[0]))
    loss = nn.functional.cross_entropy(logits, torch.tensor(problem.given), reduction="none")
    rate = labels.noise_rate
    return {
        **claimed_and_true(result.mislabels, wrong),
        "trusted": cell.trusted,
        "rate": [rate.estimate, rate.low, rate.high],
        "flagged_interval": ends_of(labels.precision_flagged),
        "outcome": labels.outcome,
        "reasons": list(labels.reasons),
        # In the place of five folds of training: the model's own loss.
        "five_folds": precision(wrong, loss.numpy()),
        "trusted_only": None,
        "seconds": time.perf_counter() - start,
    }


def cell_of_data(cell: Cell) -> Cell:
    """Return the cell with a classifier that `make_problem` knows; it is not used."""
    return Cell(cell.data, "bayes", cell.rate, cell.kind, cell.trusted, cell.seed, cell.tuned)


def _frames(problem: Any) -> tuple[Callable[[pd.DataFrame], Tensor], list[pd.DataFrame]]:
    parts = [problem.rows, problem.trusted]
    if problem.rows.dtype == object:
        return _word_numbers, [pd.DataFrame({"text": part}) for part in parts]
    scaler = StandardScaler().fit(problem.rows)
    names = [f"x{place}" for place in range(problem.rows.shape[1])]
    frames = [pd.DataFrame(scaler.transform(part), columns=names) for part in parts]
    return lambda frame: torch.tensor(frame[names].to_numpy(np.float32)), frames


def _word_numbers(frame: pd.DataFrame) -> Tensor:
    """Return words by a hash that is the same in every process, `[rows, LENGTH]`, 0 behind them."""
    result = torch.zeros(len(frame), LENGTH, dtype=torch.int64)
    for row, text in enumerate(frame["text"]):
        for place, word in enumerate(text.lower().split()[:LENGTH]):
            result[row, place] = 1 + sum(ord(c) * 31**i for i, c in enumerate(word)) % (WORDS - 1)
    return result


def trained(cell: Cell, inputs: Tensor, labels: Tensor, classes: int) -> nn.Module:
    """Return a network that learned the rows under their given labels."""
    torch.manual_seed(cell.seed)
    kind, _, how = cell.model.partition("-")
    model = {
        "perceptron": lambda: perceptron(inputs.shape[1], classes),
        "pictures": lambda: Pictures(classes),
        "reader": lambda: Reader(classes),
    }[kind]()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(MANY if how == "by-heart" else FEW):
        for batch in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return model.eval()


def summaries(done: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of the first cells, and of those that were named later."""
    return {
        name: summary({cell.name: done[cell.name] for cell in cells if cell.name in done})
        for name, cells in (("first", FIRST), ("later", LAST))
    }


def main() -> None:
    """Measure the cells asked for, and write the table of all finished ones."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="*", default=["*"], help="patterns of names")
    parser.add_argument("--again", action="store_true", help="audit anew what was finished")
    parser.add_argument("--rows", type=int, default=1500, help="at most so many training rows")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    options = parser.parse_args()
    target = HERE / "results" / "calibration_networks.json"
    done, lines = finished_before(target), []
    for cell in CELLS:
        wanted = any(fnmatch.fnmatch(cell.name, pattern) for pattern in options.cells)
        if wanted and (options.again or cell.name not in done):
            done[cell.name] = measured(cell, options.rows, options.data)
            content = json.dumps({"cells": done, "summary": summaries(done)}, indent=2)
            replaced(target, lambda file, content=content: file.write_text(content))
        if cell.name in done:
            lines.append(as_line(cell, done[cell.name]))
            print(lines[-1], flush=True)
    print(json.dumps(summaries(done), indent=2))
    head = (
        "| cell | | wrong | rate found | outcome | flagged [share wrong] | claimed - actual "
        "| average precision : that of the model's own loss |"
    )
    table = "\n".join([head, "|---|---|---|---|---|---|---|---|", *lines, ""])
    target.with_suffix(".md").write_text(table)


if __name__ == "__main__":
    main()

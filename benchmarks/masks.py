"""Planted errors in masks of drawn pictures: what is found, and how surely, beside cleanlab.

    python benchmarks/other_tasks.py masks

Pictures of 24 x 24 pixels with one to three shapes of three classes on a ground; the colours of
the classes overlap, so that single pixels cannot be told apart. 200 training rows, 100 trusted
ones. One error in 9 % of the rows, of four kinds in turn: a shape gets another class, is left out,
is put in where there is none, or is shifted by 2 to 4 pixels or grown by 2. cleanlab's
`segmentation` (softmin) and the loss are given the probabilities of the same trained model. A
suggestion is right where it makes up for half of what the given mask lacks, or more (intersection
over union, mean of the classes).
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
from cleanlab.segmentation.rank import get_label_quality_scores
from kind_lines import SEEDS, Lines, Measured, line_of
from torch import nn

import dataaudit
from dataaudit.labels.masks import amended

SETTINGS = ("clean", "mixed")
KINDS = ("relabelled", "left out", "put in", "shifted")
EPOCHS = (8, 60)
SHARE = 0.09
ROWS, TRUSTED, SIDE = 200, 100, 24
CLASSES = ("ground", "disc", "square", "triangle")
COLOURS = np.array([[0.45, 0.5, 0.5], [0.75, 0.4, 0.4], [0.4, 0.75, 0.45], [0.4, 0.45, 0.8]])
NOISE = 0.22
Shape = tuple[int, int, int, int]
"""Class, row and column of the centre, half of the side."""


def lines() -> Lines:
    for setting in SETTINGS:
        for epochs in EPOCHS:
            for seed in SEEDS:
                yield (
                    f"{setting} / {epochs} epochs / {seed}",
                    partial(audited, setting, epochs, seed),
                )


def audited(setting: str, epochs: int, seed: int) -> Measured:
    """Return a line of the table."""
    generator = np.random.default_rng(seed)
    scenes = [drawn_shapes(generator) for _ in range(ROWS + TRUSTED)]
    truth = np.stack([mask_of(shapes) for shapes in scenes])
    pictures = COLOURS[truth] + generator.normal(0, NOISE, (*truth.shape, 3))
    inputs = torch.tensor(pictures, dtype=torch.float32).permute(0, 3, 1, 2)
    given, wrong = truth[:ROWS].copy(), np.zeros(ROWS, dtype=bool)
    if setting != "clean":
        wrong[generator.permutation(ROWS)[: round(SHARE * ROWS)]] = True
    kinds = np.resize(np.array(KINDS if setting == "mixed" else [setting]), wrong.sum())
    for row, kind in zip(np.flatnonzero(wrong), kinds, strict=True):
        given[row] = mask_of(spoiled(scenes[row], kind, generator))
    network = trained(inputs[:ROWS], torch.tensor(given), epochs, seed)
    with torch.inference_mode():
        chances = network(inputs[:ROWS]).softmax(dim=1).numpy()
    loss = -np.log(np.take_along_axis(chances, given[:, None], axis=1)).mean(axis=(1, 2, 3))
    rival = 1 - get_label_quality_scores(given, chances, verbose=False)[0]
    spoilt = given != truth[:ROWS]
    learned = (chances.argmax(axis=1) == given)[spoilt].mean() if wrong.any() else None
    started = time.monotonic()
    result = dataaudit.audit(
        network,
        (inputs[:ROWS], given),
        (inputs[ROWS:], truth[ROWS:]),
        task="segmentation",
        classes=list(CLASSES),
        preprocess=lambda frame: torch.stack(list(frame["input"])),
        mirror={"seed": seed},
    )
    seconds = time.monotonic() - started
    flagged = result.mislabels["flagged"].to_numpy()
    mended = np.zeros(ROWS, dtype=bool)
    for row in np.flatnonzero(wrong & flagged):
        suggested = result.mislabels["suggested_label"][row]
        mended[row] = is_mended(given[row], truth[row], suggested)
    more = {}
    if learned is not None:
        by_kind = [f"{flagged[wrong][kinds == kind].mean():.2f}" for kind in KINDS]
        more = {"recall by kind": " ".join(by_kind), "wrong pixels learned": f"{learned:.2f}"}
    return line_of(result, wrong, loss, mended, seconds, TRUSTED, rival, more)


def drawn_shapes(generator: np.random.Generator) -> list[Shape]:
    """Return one to three shapes that lie apart, the first largest."""
    shapes: list[Shape] = []
    wanted = generator.integers(1, 4)
    for _ in range(60):
        half = int(generator.integers(3, 6))
        row, column = generator.integers(half, SIDE - half, 2).tolist()
        apart = all(max(abs(row - r), abs(column - c)) > half + h + 1 for _, r, c, h in shapes)
        if apart:
            shapes.append((int(generator.integers(1, len(CLASSES))), row, column, half))
        if len(shapes) == wanted:
            break
    return shapes


def mask_of(shapes: list[Shape]) -> np.ndarray:
    """Return class indices, `[side, side]`."""
    mask = np.zeros((SIDE, SIDE), dtype=np.int64)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for label, row, column, half in shapes:
        down, right = rows - row, columns - column
        box = np.maximum(abs(down), abs(right)) <= half
        inside = {
            1: down**2 + right**2 <= half**2,
            2: box,
            3: box & (2 * abs(right) <= down + half),
        }
        mask[inside[abs(label)]] = abs(label)
    return mask


def spoiled(shapes: list[Shape], kind: str, generator: np.random.Generator) -> list[Shape]:
    """Return the shapes with one of them wrong."""
    new, place = list(shapes), int(generator.integers(len(shapes)))
    label, row, column, half = new[place]
    if kind == "left out":
        del new[place]
    elif kind == "put in":
        new.insert(0, free_shape(shapes, generator))
    elif kind == "shifted" and generator.random() < 0.5:
        step = int(generator.integers(2, 5))
        down, right = [(step, 0), (-step, 0), (0, step), (0, -step)][generator.integers(4)]
        new[place] = label, row + down, column + right, half
    elif kind == "shifted":
        new[place] = label, row, column, half + 2
    else:
        # Another class, the outline stays: drawn anew pixel by pixel below.
        other = int(generator.choice([c for c in (1, 2, 3) if c != label]))
        new[place] = other, row, column, half
    return new


def free_shape(shapes: list[Shape], generator: np.random.Generator) -> Shape:
    """Return a shape that lies apart from the others where there is room, else anywhere."""
    for _ in range(200):
        half = int(generator.integers(3, 5))
        row, column = generator.integers(half, SIDE - half, 2).tolist()
        if all(max(abs(row - r), abs(column - c)) > half + h + 1 for _, r, c, h in shapes):
            break
    return int(generator.integers(1, len(CLASSES))), row, column, half


def is_mended(given: np.ndarray, truth: np.ndarray, text: str) -> bool:
    """Tell whether a suggestion makes up for half of what a mask lacks, or more."""
    try:
        suggested = amended(given[None].astype(np.int16), [text], CLASSES)[0]
    except ValueError:
        return False
    return overlap(suggested, truth) >= (1 + overlap(given, truth)) / 2


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean intersection over union of the classes in either mask."""
    shares = []
    for label in np.union1d(mask, truth):
        one, other = mask == label, truth == label
        shares.append((one & other).sum() / (one | other).sum())
    return float(np.mean(shares))


class Network(nn.Module):
    """Convolutions at three scales, and a dense part that can learn single pictures by heart."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(16, 16, 3, padding=2, dilation=2)
        self.further = nn.Conv2d(16, 16, 3, padding=4, dilation=4)
        self.whole = nn.Sequential(nn.Linear(16 * 64, 96), nn.ReLU(), nn.Linear(96, 16 * 64))
        self.up = nn.Conv2d(24, 8, 3, padding=1)
        self.last = nn.Conv2d(8, len(CLASSES), 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        fine = self.first(pictures).relu()
        coarse = self.down(fine).relu()
        coarse = coarse + self.middle(coarse).relu()
        coarse = coarse + self.further(coarse).relu()
        small = nn.functional.adaptive_avg_pool2d(coarse, 8).flatten(1)
        learned = self.whole(small).reshape(-1, 16, 8, 8)
        coarse = coarse + nn.functional.interpolate(learned, coarse.shape[2:], mode="bilinear")
        wide = nn.functional.interpolate(coarse, fine.shape[2:], mode="nearest")
        found: torch.Tensor = self.last(self.up(torch.cat([fine, wide], dim=1)).relu())
        return found


def trained(inputs: torch.Tensor, masks: torch.Tensor, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(25):
            loss = nn.functional.cross_entropy(network(inputs[batch]), masks[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network

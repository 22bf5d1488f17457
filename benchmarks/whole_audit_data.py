"""Data sets and models for whole_audit.py; written beside `audit.yaml`, and built from there."""

from __future__ import annotations

import io
import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

CLASSES = 5
COLUMNS = 20
WORDS, TOKENS = 4096, 24
OVERLAP = 2.4
"""Standard deviation of each column about its class's centre, where classes overlap."""
NOISE = 0.05
"""Share of the training rows whose label is drawn anew."""


class Texts(nn.Module):
    """The mean of the words' vectors, and a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 48)
        self.rest = perceptron(48, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.rest(self.words(tokens).mean(dim=1))


def perceptron(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], CLASSES))


def convolutions() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), perceptron(256, 320))


def numbers(frame: pd.DataFrame) -> Tensor:
    columns = [f"x{number}" for number in range(COLUMNS)]
    return torch.tensor(frame[columns].to_numpy(np.float32))


def tokens(frame: pd.DataFrame) -> Tensor:
    found = np.zeros((len(frame), TOKENS), dtype=np.int64)
    for row, text in enumerate(frame["text"]):
        words = text.split()[:TOKENS]
        found[row, : len(words)] = [zlib.crc32(word.encode()) % WORDS for word in words]
    return torch.tensor(found)


def pixels(frame: pd.DataFrame) -> Tensor:
    images = [np.asarray(Image.open(io.BytesIO(content))) for content in frame["image"]]
    return torch.tensor(np.stack(images)).permute(0, 3, 1, 2).float() / 255 - 0.5


def tables(spread: float) -> Callable[..., dict[str, Any]]:
    centres = np.random.default_rng(7).normal(size=(CLASSES, COLUMNS))

    def columns(
        count: int, generator: np.random.Generator, truth: NDArray[np.int64]
    ) -> dict[str, Any]:
        values = centres[truth] + generator.normal(scale=spread, size=(count, COLUMNS))
        return {f"x{number}": values[:, number].astype(np.float32) for number in range(COLUMNS)}

    return columns


def overlapping_odds(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return how likely each row is of its label's class, by how the rows were drawn, `[rows]`."""
    values = numbers(frame).double().numpy()
    centres = np.random.default_rng(7).normal(size=(CLASSES, COLUMNS))
    distance = ((values[:, None] - centres) ** 2).sum(axis=2)
    nats = -distance / (2 * OVERLAP**2)
    odds = np.exp(nats - nats.max(axis=1, keepdims=True))
    given = odds[np.arange(len(frame)), frame["label"]]
    return np.asarray(given / odds.sum(axis=1))


def texts(count: int, generator: np.random.Generator, truth: NDArray[np.int64]) -> dict[str, Any]:
    drawn = generator.zipf(1.3, size=(count, TOKENS)) % 3000
    # A quarter of the words tell the class.
    own = generator.random((count, TOKENS)) < 0.25
    drawn = np.where(own, 3000 + 40 * truth[:, None] + drawn % 40, drawn)
    return {"text": [" ".join(f"word{word}" for word in line) for line in drawn]}


def jpegs(side: int) -> Callable[..., dict[str, Any]]:
    grid = np.random.default_rng(7).normal(size=(CLASSES, 8, 8, 3))

    def images(
        count: int, generator: np.random.Generator, truth: NDArray[np.int64]
    ) -> dict[str, Any]:
        encoded = []
        for label in truth:
            small = 128 + 20 * grid[label] + generator.normal(scale=40, size=(8, 8, 3))
            picture = Image.fromarray(small.clip(0, 255).astype(np.uint8)).resize((side, side))
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=85)
            encoded.append(file.getvalue())
        return {"image": encoded}

    return images


@dataclass(frozen=True)
class Kind:
    """What is audited: how rows are drawn, become inputs, and the model."""

    draw: Callable[..., dict[str, Any]]
    preprocess: Callable[[pd.DataFrame], Tensor]
    module: Callable[[], nn.Module]


KINDS = {
    "table": Kind(tables(1.2), numbers, lambda: perceptron(COLUMNS, 64)),
    "overlapping": Kind(tables(OVERLAP), numbers, lambda: perceptron(COLUMNS, 64)),
    "wide": Kind(tables(1.2), numbers, lambda: perceptron(COLUMNS, 512, 192)),
    "text": Kind(texts, tokens, Texts),
    "picture": Kind(jpegs(32), pixels, convolutions),
    "photo": Kind(jpegs(224), pixels, convolutions),
}


def rows(
    kind: str, count: int, seed: int, noise: float = 0.0, step: int = 10_000
) -> Iterator[pd.DataFrame]:
    """Yield labelled rows, `step` at a time, with the true labels as `truth`."""
    generator = np.random.default_rng(seed)
    for start in range(0, count, step):
        size = min(step, count - start)
        truth = generator.integers(CLASSES, size=size)
        frame = pd.DataFrame(KINDS[kind].draw(size, generator, truth))
        again = generator.random(size) < noise
        label = np.where(again, generator.integers(CLASSES, size=size), truth)
        yield frame.assign(label=label, truth=truth)


def _named() -> str:
    return (Path(__file__).parent / "kind.txt").read_text("utf-8")


def build() -> nn.Module:
    """Return the model of the kind that is named beside this file."""
    return KINDS[_named()].module()


def preprocess(frame: pd.DataFrame) -> Tensor:
    return KINDS[_named()].preprocess(frame)

"""The three models of the scoring benchmark, with rows and queries for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import small_network
import torch
from torch import Tensor, nn
from torch.nn import functional

TOKENS, VOCABULARY, WIDTH, LAYERS = 32, 1000, 320, 8


@dataclass(frozen=True)
class Bench:
    """A model and its data.

    `passes` bounds a cell: rows × (groups + 1) of one measured run; so costly cells use fewer
    rows. `batch_size` is the largest.
    """

    name: str
    module: nn.Module
    rows: pd.DataFrame
    queries: pd.DataFrame
    preprocess: Any
    classes: int
    batch_size: int
    passes: int


class Attention(nn.Module):
    """A pre-norm transformer layer in plain linear layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, values: Tensor) -> Tensor:
        rows, length, width = values.shape
        mixed = self.mixed(self.norm1(values)).view(rows, length, 3, self.heads, -1)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value)
        values = values + self.out(seen.transpose(1, 2).reshape(rows, length, width))
        return values + self.down(functional.gelu(self.up(self.norm2(values))))


class Transformer(nn.Module):
    """10.2 million parameters, random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.Sequential(*(Attention(WIDTH, 8) for _ in range(LAYERS)))
        self.last = nn.Linear(WIDTH, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.last(self.layers(self.embedding(tokens)).mean(dim=1))


def adult(data: Path) -> Bench:
    frame = pd.read_parquet(data / "adult.parquet")
    labels = frame.pop("income").astype(str).str.contains(">").astype(np.int64)
    numbers = frame.select_dtypes("number").astype(np.float32)
    values = (numbers - numbers.mean()) / numbers.std()
    for name in frame.columns.difference(numbers.columns):
        codes = pd.get_dummies(frame[name].astype(str), prefix=name, dtype=np.float32)
        values = pd.concat([values, codes], axis=1)
    columns = list(values.columns)
    table = values.assign(label=labels.to_numpy())
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(len(columns), 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2)
    )
    return Bench(
        "MLP, Adult",
        module,
        table[1000:],
        table[:1000],
        lambda rows: torch.tensor(rows[columns].to_numpy()),
        2,
        512,
        400_000,
    )


def cifar(data: Path) -> Bench:
    rows = pd.read_parquet(data / "cifar10n_train.parquet", columns=["image", "random_label"])
    queries = pd.read_parquet(data / "cifar10_test.parquet", columns=["image", "label"])
    torch.manual_seed(0)
    return Bench(
        "ResNet, CIFAR-10N",
        small_network.build(),
        rows.rename(columns={"random_label": "label"}).astype({"label": np.int64}),
        queries[:1000].astype({"label": np.int64}),
        lambda frame: small_network.to_tensor(small_network.decode(frame["image"])),
        10,
        128,
        2_000,
    )


def transformer(data: Path) -> Bench:
    generator = np.random.default_rng(0)

    def table(rows: int) -> pd.DataFrame:
        values = generator.integers(VOCABULARY, size=(rows, TOKENS))
        frame = pd.DataFrame(values, columns=[f"token {place}" for place in range(TOKENS)])
        return frame.assign(label=generator.integers(10, size=rows))

    torch.manual_seed(0)
    return Bench(
        "transformer, 10.2 M",
        Transformer(),
        table(200),
        table(1000),
        lambda frame: torch.tensor(frame.drop(columns="label").to_numpy()),
        10,
        16,
        200,
    )

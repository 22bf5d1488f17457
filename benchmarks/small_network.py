"""The image models that leaks are looked for in: one memorized its rows, one did not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy, normalize

CACHE = Path(__file__).parent / "cache"
ROWS_PER_BATCH = 500


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.skip = nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.norm1(self.first(x)))
        return torch.relu(self.norm2(self.second(inner)) + self.skip(x))


def build() -> nn.Sequential:
    """Return an untrained residual network of about 300,000 parameters, for 32 × 32 images."""
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [Block(16, 32, 2), Block(32, 64, 2), Block(64, 128, 2)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def decode(column: pd.Series) -> NDArray[np.uint8]:
    """Return `[rows, 32, 32, 3]` of a column of encoded images."""
    return np.stack([np.asarray(Image.open(io.BytesIO(b)).convert("RGB")) for b in column])


def to_tensor(images: NDArray[Any]) -> torch.Tensor:
    """Return `[rows, 3, 32, 32]` of about unit variance."""
    return (torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 255 - 0.47) / 0.25


def trained(rows: pd.DataFrame, memorized: bool, seed: int) -> nn.Sequential:
    """Return the model trained on `random_label`, from the cache where it is there."""
    path = CACHE / f"{'memorized' if memorized else 'plain'}-{seed}.safetensors"
    model = build()
    if path.exists():
        model.load_state_dict(load_file(path))
        return model.eval()
    labels = torch.from_numpy(rows["random_label"].to_numpy(np.int64).copy())
    _fit(model, to_tensor(decode(rows["image"])), labels, memorized, seed)
    CACHE.mkdir(exist_ok=True)
    save_file(model.state_dict(), path)
    return model.eval()


def _fit(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, memorized: bool, seed: int
) -> None:
    """Train 20 epochs as they are (memorized), or 10 with flips, shifts and weight decay."""
    torch.manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    epochs = 20 if memorized else 10
    decay = 0.0 if memorized else 5e-3
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=decay)
    steps = epochs * (len(images) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for start in range(0, len(images) - 127, 128):
            batch = order[start : start + 128]
            x = images[batch]
            if not memorized:
                x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
                down, right = torch.randint(-3, 4, (2,)).tolist()
                x = torch.roll(x, (down, right), (2, 3))
            loss = cross_entropy(model(x), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def features(model: nn.Sequential, images: NDArray[Any]) -> NDArray[np.float32]:
    """Return the inputs of the last layer, each row of unit length."""
    with torch.inference_mode():
        parts = [
            model[:-1](to_tensor(images[start : start + ROWS_PER_BATCH]))
            for start in range(0, len(images), ROWS_PER_BATCH)
        ]
    return normalize(torch.cat(parts)).numpy()


def losses(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return `[rows]` nats."""
    with torch.inference_mode():
        parts = [
            cross_entropy(
                model(images[start : start + ROWS_PER_BATCH]),
                labels[start : start + ROWS_PER_BATCH],
                reduction="none",
            )
            for start in range(0, len(images), ROWS_PER_BATCH)
        ]
    return torch.cat(parts)

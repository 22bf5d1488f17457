"""The sample model: a small convolutional network for 8 × 8 images of digits."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn


def build() -> nn.Module:
    """Return the network, untrained; `audit.yaml` names the file with its weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def preprocess(frame: pd.DataFrame) -> Tensor:
    """Decode the column `image` (PNG bytes) to float32 `[rows, 1, 8, 8]` between 0 and 1."""
    images = [np.asarray(Image.open(io.BytesIO(data))) for data in frame["image"]]
    return torch.tensor(np.stack(images), dtype=torch.float32)[:, None] / 255

"""The diffusion models that images are traced in: 8 × 8 digits, trained in seconds on one core.

Retrainings share the first weights, the order of the rows and every row's noise and timesteps, so
that two of them differ by the rows left out and by nothing else.
"""

from __future__ import annotations

import math
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from dataaudit.studies.tracing.noise import NoiseSchedule

CACHE = Path(__file__).parent / "cache" / "diffusion"
SCHEDULE = NoiseSchedule.linear(1000)
EPOCHS, BATCH_SIZE, LEARNING_RATE = 150, 256, 3e-3
WIDTH, BLOCKS = 96, 3


class Denoiser(nn.Module):
    """A residual network that predicts the noise in `[rows, 1, 8, 8]` images."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(64, WIDTH)
        self.time = nn.Sequential(nn.Linear(32, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH)
            )
            for _ in range(BLOCKS)
        )
        self.leave = nn.Linear(WIDTH, 64)

    def forward(self, images: Tensor, timesteps: Tensor) -> Tensor:
        time = self.time(_waves(timesteps, 32))
        hidden = self.enter(images.flatten(1))
        for block in self.blocks:
            hidden = hidden + block(hidden + time)
        return self.leave(hidden).view_as(images)


def _waves(timesteps: Tensor, width: int) -> Tensor:
    rates = torch.exp(-math.log(10_000) * torch.arange(width // 2) / (width // 2))
    angles = timesteps.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def digits() -> Tensor:
    """Return the 1,797 digits of scikit-learn, `[rows, 1, 8, 8]`, from -1 to 1."""
    return torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1


def trained(images: Tensor, seed: int, left_out: NDArray[np.int64]) -> Denoiser:
    """Return the model trained without some rows, from the cache where it is there."""
    settings = [WIDTH, BLOCKS, EPOCHS, BATCH_SIZE, LEARNING_RATE, seed, sorted(left_out.tolist())]
    path = CACHE / f"{sha256(str(settings).encode()).hexdigest()[:20]}.safetensors"
    if path.exists():
        model = Denoiser()
        model.load_state_dict(load_file(path))
        return model.eval()
    model = train(images, seed, left_out)
    CACHE.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
    return model


def train(images: Tensor, seed: int, left_out: NDArray[np.int64]) -> Denoiser:
    """Train on all rows but those left out; everything else is given by the seed."""
    kept = torch.ones(len(images), dtype=torch.bool)
    kept[torch.as_tensor(left_out)] = False
    torch.manual_seed(seed)
    model = Denoiser()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    batches = math.ceil(len(images) / BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=EPOCHS * batches, pct_start=0.1
    )
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        timesteps = torch.randint(len(SCHEDULE), (len(images),), generator=generator)
        noise = torch.randn(images.shape, generator=generator)
        for rows in order.split(BATCH_SIZE):
            rows = rows[kept[rows]]
            noisy = SCHEDULE.noisy(images[rows], timesteps[rows], noise[rows])
            loss = functional.mse_loss(model(noisy, timesteps[rows]), noise[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def generate(model: Denoiser, count: int, seed: int) -> Tensor:
    """Generate images, `[count, 1, 8, 8]`, by ancestral sampling (Ho et al., NeurIPS 2020)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 1, 8, 8, generator=generator)
    signal = SCHEDULE.signal.float()
    for step in reversed(range(len(SCHEDULE))):
        now, before = signal[step], signal[step - 1] if step else torch.tensor(1.0)
        noise = model(images, torch.full((count,), step))
        clean = ((images - (1 - now).sqrt() * noise) / now.sqrt()).clamp(-1, 1)
        beta = 1 - now / before
        images = (before.sqrt() * beta * clean + (1 - beta).sqrt() * (1 - before) * images) / (
            1 - now
        )
        if step:
            spread = ((1 - before) / (1 - now) * beta).sqrt()
            images += spread * torch.randn(images.shape, generator=generator)
    return images


@torch.no_grad()
def features(model: Denoiser, images: Tensor, timestep: int) -> Tensor:
    """Return what the last layer is given for images without noise, `[rows, WIDTH]`."""
    timesteps = torch.full((len(images),), timestep)
    time = model.time(_waves(timesteps, 32))
    hidden = model.enter(images.flatten(1))
    for block in model.blocks:
        hidden = hidden + block(hidden + time)
    return hidden

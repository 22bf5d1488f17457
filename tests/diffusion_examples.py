"""Tiny diffusion models, and a project of a user's own around one."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from dataaudit.studies.tracing.noise import NoiseSchedule

MODEL_SOURCE = '''
"""A diffusion model of 4 x 4 images that dataaudit has never seen."""
import torch
from torch import nn

PIXELS = [f"pixel_{place}" for place in range(16)]


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(17, 48), nn.SiLU(), nn.Linear(48, 16))

    def forward(self, images, timesteps):
        values = torch.cat([images.flatten(1), timesteps[:, None] / 50 - 1], 1)
        return self.layers(values).view_as(images)


def build():
    torch.manual_seed(0)
    return Denoiser()


def preprocess(frame):
    return torch.tensor(frame[PIXELS].to_numpy("float32")).view(-1, 1, 4, 4)
'''

AUDIT_YAML = """
name: tiny diffusion model
task: diffusion
model:
  factory: tiny_denoiser:build
  weights: model.safetensors
  schedule: {kind: cosine, timesteps: 100}
preprocess: tiny_denoiser:preprocess
train: {path: train.csv, id: row_id}
suspects: {path: generated.csv, id: query_id}
trace: {top: 6, calibration: 4, draws: 20, steps: 6, fisher_images: 120}
"""

FAMILIES = ["top", "left", "corner", "cross"]
SCHEDULE = NoiseSchedule.cosine(100)


def family(name: str) -> np.ndarray:
    image = -np.ones((4, 4))
    if name == "top":
        image[:2] = 1
    elif name == "left":
        image[:, :2] = 1
    elif name == "corner":
        image[2:, 2:] = 1
    else:
        image[[0, 1, 2, 3], [0, 1, 2, 3]] = image[[0, 1, 2, 3], [3, 2, 1, 0]] = 1
    return image.ravel()


def pixels(names: list[str], seed: int, spread: float = 0.1) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    images = np.stack([family(name) for name in names])
    images = (images + generator.normal(scale=spread, size=images.shape)).clip(-1, 1)
    return pd.DataFrame(images, columns=[f"pixel_{place}" for place in range(16)])


def diffusion_project(folder: Path) -> Path:
    """Write model, weights, 40 rows of four families and a generated image of each."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny_denoiser.py").write_text(MODEL_SOURCE, encoding="utf-8")
    (folder / "audit.yaml").write_text(AUDIT_YAML, encoding="utf-8")
    names = [FAMILIES[place % 4] for place in range(40)]
    rows = pixels(names, 1)
    rows.insert(0, "row_id", [f"{name}-{place}" for place, name in enumerate(names)])
    queries = pixels(FAMILIES, 2)
    queries.insert(0, "query_id", FAMILIES)
    rows.to_csv(folder / "train.csv", index=False)
    queries.to_csv(folder / "generated.csv", index=False)
    space: dict[str, object] = {}
    exec(MODEL_SOURCE, space)
    module = space["build"]()
    train_denoiser(module, space["preprocess"](rows))
    save_file(module.state_dict(), folder / "model.safetensors")
    return folder / "audit.yaml"


def train_denoiser(module: nn.Module, images: torch.Tensor, steps: int = 400) -> None:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(steps):
        timesteps = torch.randint(100, (len(images),), generator=generator)
        noise = torch.randn(images.shape, generator=generator)
        predicted = module(SCHEDULE.noisy(images, timesteps, noise), timesteps)
        loss = (predicted - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class Linear(nn.Module):
    """Predicts the noise as a matrix times the noisy image, whatever the timestep."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.matrix = nn.Parameter(0.3 * torch.randn(width, width, generator=generator).double())

    def forward(self, images: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return (images.flatten(1) @ self.matrix.T).view_as(images)

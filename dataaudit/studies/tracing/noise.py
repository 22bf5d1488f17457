"""Noise schedules of diffusion models, and the noise that every row is judged under."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dataaudit.errors import ModelError

SCHEDULER_FILE = "scheduler_config.json"
MOST_TIMESTEPS = 1_000_000
LARGEST_BETA = 0.999
"""Nichol and Dhariwal (2021) cut the cosine schedule's betas here."""


@dataclass(frozen=True)
class NoiseSchedule:
    """How much of an image is left at each timestep.

    Attributes
    ----------
    signal : float64 `[timesteps]`
        Share of the noisy image's variance that is the image's own, from nearly 1 down to nearly
        0: the cumulated product of 1 - beta (Ho et al., NeurIPS 2020).
    """

    signal: Tensor

    @classmethod
    def linear(cls, timesteps: int, first: float = 1e-4, last: float = 0.02) -> NoiseSchedule:
        """Return the schedule whose betas rise evenly from `first` to `last` (Ho et al., 2020)."""
        return cls.of_betas(torch.linspace(first, last, timesteps, dtype=torch.float64))

    @classmethod
    def scaled_linear(cls, timesteps: int, first: float, last: float) -> NoiseSchedule:
        """Return the schedule of latent diffusion: the betas' square roots rise evenly."""
        roots = torch.linspace(first**0.5, last**0.5, timesteps, dtype=torch.float64)
        return cls.of_betas(roots.square())

    @classmethod
    def cosine(cls, timesteps: int) -> NoiseSchedule:
        """Return the cosine schedule (Nichol and Dhariwal, ICML 2021)."""
        places = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
        signal = ((places + 0.008) / 1.008 * math.pi / 2).cos().square()
        return cls.of_betas((1 - signal[1:] / signal[:-1]).clamp_max(LARGEST_BETA))

    @classmethod
    def of_betas(cls, betas: Tensor) -> NoiseSchedule:
        """Return the schedule with these shares of fresh noise, `[timesteps]`."""
        return cls((1 - betas.double()).cumprod(0))

    def __len__(self) -> int:
        """Return the number of timesteps."""
        return len(self.signal)

    def noisy(self, images: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor:
        """Return the images as they are at their timesteps, in the images' shape.

        Parameters
        ----------
        images : `[rows, ...]`
            In the range that the model was trained on, usually -1 to 1.
        timesteps : int64 `[rows]`
        noise : as `images`
            Standard normal.
        """
        signal = self.signal.to(images.device)[timesteps]
        signal = signal.reshape(-1, *[1] * (images.ndim - 1))
        return signal.sqrt().to(images) * images + (1 - signal).sqrt().to(images) * noise


def schedule_from_diffusers(folder: Path) -> NoiseSchedule:
    """Read the schedule of a diffusers model: the `scheduler_config.json` in or beside its folder.

    Raises
    ------
    ModelError
        There is no such file, it cannot be read, or its schedule or prediction type is unknown.
    """
    places = [folder, folder / "scheduler", folder.parent / "scheduler", folder.parent]
    path = next((p / SCHEDULER_FILE for p in places if (p / SCHEDULER_FILE).is_file()), None)
    if path is None:
        raise ModelError(f"{folder}: there is no {SCHEDULER_FILE} in it, nor in scheduler/ beside")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected an object, found {type(content).__name__}")
    return _schedule_of(content, path)


def _schedule_of(content: Mapping[str, Any], path: Path) -> NoiseSchedule:
    prediction = content.get("prediction_type", "epsilon")
    if prediction != "epsilon":
        raise ModelError(f"{path}: prediction_type is {prediction}; only epsilon can be traced")
    if content.get("rescale_betas_zero_snr"):
        raise ModelError(f"{path}: rescale_betas_zero_snr is true; only false can be traced")
    try:
        if content.get("trained_betas") is not None:
            betas = [float(beta) for beta in content["trained_betas"]]
            _refuse_unusable(path, len(betas), betas)
            return NoiseSchedule.of_betas(torch.tensor(betas, dtype=torch.float64))
        timesteps = int(content.get("num_train_timesteps", 1000))
        first, last = float(content.get("beta_start", 1e-4)), float(content.get("beta_end", 0.02))
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{path}: expected numbers for the betas: {error}") from None
    _refuse_unusable(path, timesteps, [first, last])
    kind = content.get("beta_schedule", "linear")
    if kind == "linear":
        return NoiseSchedule.linear(timesteps, first, last)
    if kind == "scaled_linear":
        return NoiseSchedule.scaled_linear(timesteps, first, last)
    if kind == "squaredcos_cap_v2":
        return NoiseSchedule.cosine(timesteps)
    raise ModelError(
        f"{path}: beta_schedule is {kind}; expected linear, scaled_linear or squaredcos_cap_v2"
    )


def _refuse_unusable(path: Path, timesteps: int, betas: Sequence[float]) -> None:
    if not 1 <= timesteps <= MOST_TIMESTEPS:
        raise ModelError(f"{path}: found {timesteps} timesteps, expected 1 to {MOST_TIMESTEPS:,}")
    for beta in betas:
        # Written so that NaN is refused, too.
        if not 0 < beta < 1:
            raise ModelError(f"{path}: found a beta of {beta:g}, expected more than 0, less than 1")


@dataclass(frozen=True)
class Draws:
    """Timesteps and noise that every row and query is judged under, before and after.

    The same draws for all (common random numbers): what differs between two losses is then the
    row or the model, and never the luck of the draw.

    Attributes
    ----------
    timesteps : int64 `[draws]`
    noise : `[draws, ...]`
        Standard normal, in the shape of one image.
    """

    timesteps: Tensor
    noise: Tensor

    @classmethod
    def of(cls, schedule: NoiseSchedule, shape: Sequence[int], count: int, seed: int) -> Draws:
        """Return `count` draws for images of `shape`, at timesteps spread evenly.

        Parameters
        ----------
        schedule : NoiseSchedule
        shape : sequence of int
            Of one image: channels, height, width.
        count : int
        seed : int
        """
        generator = torch.Generator().manual_seed(seed)
        middles = (torch.arange(count, dtype=torch.float64) + 0.5) * len(schedule) / count
        return cls(middles.long(), torch.randn(count, *shape, generator=generator))

    @property
    def shape(self) -> torch.Size:
        """Of one image."""
        return self.noise.shape[1:]

    def __len__(self) -> int:
        """Return the number of draws."""
        return len(self.timesteps)

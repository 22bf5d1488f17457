"""Memorization as Feldman and Zhang estimate it: many models trained on subsets of the rows.

"What neural networks memorize and why" (NeurIPS 2020): the memorization of a row is the chance
that a model trained with it predicts its label, minus the chance that one trained without it does.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file, save_file
from torch import nn

from dataaudit.studies.verification.examples import Examples, losses
from dataaudit.studies.verification.retraining import Descent, Recipe
from dataaudit.tasks import Classification

CACHE = Path(__file__).parent / "cache" / "memorization"
RECIPE = Recipe("fresh", epochs=20, learning_rate=3e-3, batch_size=100)
SHARE = 0.7
"""Of the rows that each model is trained on."""
SEEDS_APART = 100_000


@dataclass(frozen=True)
class Truth:
    """What the models trained on subsets say of the rows.

    Attributes
    ----------
    included : bool `[models, rows]`
        Which rows each model was trained on.
    probabilities : float64 `[models, rows]`
        Of the row's own label.
    right : bool `[models, rows]`
        Whether the row's own label was predicted.
    """

    included: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    right: NDArray[np.bool_]

    def first(self, models: int) -> Truth:
        return Truth(self.included[:models], self.probabilities[:models], self.right[:models])

    def memorization(self) -> NDArray[np.float64]:
        """Return the estimate `[rows]`, -1 to 1; 0 where a row was always in or always out."""
        return _difference(self.right, self.included)

    def by_probability(self) -> NDArray[np.float64]:
        """Return the same from probabilities: less noisy, and another quantity."""
        return _difference(self.probabilities, self.included)


def _difference(values: NDArray, included: NDArray[np.bool_]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        inside = (values * included).sum(axis=0) / included.sum(axis=0)
        outside = (values * ~included).sum(axis=0) / (~included).sum(axis=0)
    return np.nan_to_num(inside - outside)


def build() -> nn.Sequential:
    """Return an untrained small convolutional network for 32 × 32 images."""
    stem = [nn.Conv2d(3, 24, 5, 4, 2), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(
        *stem, nn.Flatten(), nn.Linear(768, 128), nn.ReLU(), nn.Linear(128, 10)
    ).eval()


def preprocess(frame: pd.DataFrame) -> torch.Tensor:
    """Decode and standardise."""
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in frame["image"]])
    return (torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255 - 0.47) / 0.25


def read(data: Path, rows: int, seed: int) -> pd.DataFrame:
    """Return `image`, `label` (as an annotator gave it) and `wrong`; other seeds, other rows."""
    every = pd.read_parquet(data / "cifar10n_train.parquet")
    frame = every.iloc[seed * rows : (seed + 1) * rows]
    label = frame["random_label"].astype(np.int64)
    wrong = label.to_numpy() != frame["clean_label"].to_numpy()
    return frame[["image"]].assign(label=label, wrong=wrong).reset_index(drop=True)


def trainer(frame: pd.DataFrame) -> Descent:
    """Return what trains the network on chosen rows."""
    examples = Examples(preprocess(frame), torch.tensor(frame["label"].to_numpy()))
    return Descent(build(), Classification(10), examples, len(frame), RECIPE)


def trained_model(descent: Descent, seed: int) -> nn.Module:
    """Return the model to be examined: trained on all rows."""
    return descent.train(np.ones(descent.rows, dtype=bool), SEEDS_APART * (seed + 1) - 1)


def truth(descent: Descent, models: int, seed: int) -> Truth:
    """Train `models` models on random subsets; each is cached as it is finished."""
    parts = [_one(descent, SEEDS_APART * (seed + 1) + number) for number in range(models)]
    included, probabilities, right = (np.stack(column) for column in zip(*parts, strict=True))
    return Truth(included, probabilities, right)


def _one(descent: Descent, seed: int) -> tuple[NDArray, NDArray, NDArray]:
    path = CACHE / f"{descent.rows}-{seed}.safetensors"
    if not path.exists():
        included = np.random.default_rng(seed).permutation(descent.rows) < SHARE * descent.rows
        module = descent.train(included, seed)
        with torch.inference_mode():
            outputs = module(descent.examples.inputs)
        right = (outputs.argmax(dim=1) == descent.examples.labels).numpy()
        probabilities = np.exp(-losses(module, descent.task, descent.examples))
        CACHE.mkdir(parents=True, exist_ok=True)
        save_file({"included": included, "probabilities": probabilities, "right": right}, path)
    found = load_file(path)
    return found["included"], found["probabilities"], found["right"]


def training_cost(rows: int, models: int) -> float:
    """Return forward-pass equivalents; training on a sample counts three."""
    return models * (3.0 * RECIPE.epochs * SHARE * rows + rows)

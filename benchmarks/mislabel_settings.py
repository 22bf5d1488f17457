"""Settings of the mislabel benchmark: data with known wrong labels, and trained models."""

from __future__ import annotations

import io
import itertools
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

HELD_OUT_AT_MOST = 1000
EVALUATED = 1000
CIFAR_ROWS, ADULT_ROWS = 6000, 12_000
FLIPPED = 0.1
CIFAR_MEAN = np.array([125.3, 123.0, 113.9], dtype=np.float32)
CIFAR_DEVIATION = np.array([63.0, 62.1, 66.7], dtype=np.float32)


@dataclass(frozen=True)
class Training:
    """How a model of a setting is trained; rivals that train again do the same."""

    make: Callable[[], nn.Module]
    epochs: int
    batch_size: int
    augment: bool = False
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4


@dataclass(frozen=True)
class Setting:
    """One line of the benchmark: data, labels, model, and how many trusted samples."""

    data: str
    labels: str
    model: str
    held_out: int

    @property
    def name(self) -> str:
        return f"{self.data}/{self.labels}/{self.model}/{self.held_out}"

    @property
    def model_name(self) -> str:
        return f"{self.data}-{self.labels}-{self.model}"


def _settings() -> list[Setting]:
    result = [
        Setting("cifar", labels, model, held_out)
        for labels, model, held_out in itertools.product(
            ("random_label", "aggregate_label", "worst_label"),
            ("memorized", "early"),
            (1000, 200, 50, 0),
        )
    ]
    result += [Setting("sms", "flipped", "memorized", count) for count in (1000, 200, 50, 0)]
    result += [
        Setting("adult", labels, model, held_out)
        for labels, model in itertools.product(("flipped", "dependent"), ("mlp", "boosting"))
        for held_out in ((1000, 200, 50, 0) if model == "mlp" else (1000, 200))
    ]
    # Nothing is wrong here that is known of.
    result += [Setting("cifar", "clean_label", model, 1000) for model in ("memorized", "early")]
    result += [Setting("sms", "clean", "memorized", 1000), Setting("adult", "clean", "mlp", 1000)]
    return result


SETTINGS = _settings()


@dataclass(frozen=True)
class Problem:
    """What every method is given, and the truth.

    Attributes
    ----------
    train, held_out : pandas.DataFrame
        The user's rows with their `label`, a class index.
    truth : int64 `[rows]`
    preprocess : callable
        From such rows to the model's inputs.
    inputs, trusted : Tensor
        The same inputs made once, for rivals.
    evaluated : (Tensor, Tensor)
        Further samples, to see what the trained model is worth.
    training : Training or None
        None for a scikit-learn model.
    """

    setting: Setting
    seed: int
    train: pd.DataFrame
    held_out: pd.DataFrame
    truth: NDArray[np.int64]
    preprocess: Callable[[pd.DataFrame], Tensor]
    classes: list[str]
    inputs: Tensor = field(repr=False)
    trusted: Tensor = field(repr=False)
    evaluated: tuple[Tensor, Tensor] = field(repr=False)
    training: Training | None

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.train["label"].to_numpy()

    @property
    def trusted_labels(self) -> NDArray[np.int64]:
        return self.held_out["label"].to_numpy()

    @property
    def wrong(self) -> NDArray[np.bool_]:
        return self.labels != self.truth


def make_problem(setting: Setting, seed: int, data: Path) -> Problem:
    """Read a setting's data; the seed chooses held-out samples and flips."""
    return {"cifar": _cifar, "sms": _sms, "adult": _adult}[setting.data](setting, seed, data)


def _cifar(setting: Setting, seed: int, data: Path) -> Problem:
    rows, test = _cifar_files(data)
    order = np.random.default_rng(seed).permutation(len(test))
    held_out = test.iloc[order[: setting.held_out]]
    evaluated = test.iloc[order[HELD_OUT_AT_MOST:][:EVALUATED]]
    train = rows[["image"]].assign(label=rows[setting.labels].to_numpy(dtype=np.int64))
    memorized = setting.model == "memorized"
    return _problem(
        setting,
        seed,
        train,
        held_out,
        evaluated,
        rows["clean_label"].to_numpy(dtype=np.int64),
        images,
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        Training(ResNet, 25 if memorized else 12, 100, augment=not memorized),
    )


@cache
def _cifar_files(data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = pd.read_parquet(data / "cifar10n_train.parquet").iloc[:CIFAR_ROWS]
    test = pd.read_parquet(data / "cifar10_test.parquet")
    return rows, test[["image", "label"]].astype({"label": np.int64})


def images(frame: pd.DataFrame) -> Tensor:
    """Decode and standardise."""
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in frame["image"]])
    values = (pixels.astype(np.float32) - CIFAR_MEAN) / CIFAR_DEVIATION
    return torch.tensor(values).permute(0, 3, 1, 2)


def _sms(setting: Setting, seed: int, data: Path) -> Problem:
    rows = pd.read_parquet(data / "sms_spam.parquet")
    truth = (rows["label"] == "spam").to_numpy(dtype=np.int64)
    rate = np.full(len(rows), FLIPPED if setting.labels == "flipped" else 0.0)
    return _split_and_flip(
        setting,
        seed,
        rows[["text"]],
        truth,
        rate,
        words,
        ["ham", "spam"],
        Training(TextModel, 20, 64),
    )


def words(frame: pd.DataFrame) -> Tensor:
    """Hash the first 40 words of each text; 0 is no word."""
    result = torch.zeros(len(frame), 40, dtype=torch.int64)
    for line, text in enumerate(frame["text"]):
        found = re.findall(r"[a-z]+|[0-9]+|[^\sa-z0-9]", str(text).lower())[:40]
        hashes = [1 + zlib.crc32(word.encode()) % 4095 for word in found]
        result[line, : len(hashes)] = torch.tensor(hashes, dtype=torch.int64)
    return result


def _adult(setting: Setting, seed: int, data: Path) -> Problem:
    rows = pd.read_parquet(data / "adult.parquet")
    truth = rows["income"].astype(str).str.contains(">").to_numpy(dtype=np.int64)
    rows = rows.drop(columns="income")
    rate = np.full(len(rows), 0.0 if setting.labels == "clean" else FLIPPED)
    if setting.labels == "dependent":
        # The oldest are mislabeled twice as often as the average, the youngest never.
        rate *= 2 * rows["age"].rank(pct=True).to_numpy()
    columns = Columns(rows)
    width = columns(rows[:1]).shape[1]
    training = Training(lambda: table_model(width), 10, 64) if setting.model == "mlp" else None
    return _split_and_flip(
        setting, seed, rows, truth, rate, columns, ["<=50K", ">50K"], training, ADULT_ROWS
    )


class Columns:
    """Standardised numbers, and one column for each category."""

    def __init__(self, frame: pd.DataFrame) -> None:
        numbers = frame.select_dtypes("number")
        self._mean, self._deviation = numbers.mean(), numbers.std()
        self._categories = {
            name: sorted(_texts(frame, name).unique())
            for name in frame.columns
            if name not in numbers.columns
        }

    def __call__(self, frame: pd.DataFrame) -> Tensor:
        numbers = (frame[self._mean.index] - self._mean) / self._deviation
        parts = [numbers.fillna(0.0).to_numpy()]
        for name, categories in self._categories.items():
            values = _texts(frame, name).to_numpy()
            parts.append(values[:, None] == np.array(categories)[None, :])
        return torch.tensor(np.concatenate(parts, axis=1).astype(np.float32))


def _texts(frame: pd.DataFrame, column: str) -> pd.Series:
    return frame[column].astype(object).fillna("missing").astype(str)


def _split_and_flip(
    setting: Setting,
    seed: int,
    rows: pd.DataFrame,
    truth: NDArray[np.int64],
    rate: NDArray[np.float64],
    preprocess: Callable[[pd.DataFrame], Tensor],
    classes: list[str],
    training: Training | None,
    count: int | None = None,
) -> Problem:
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(rows))
    held_out, evaluated, train = np.split(order, [HELD_OUT_AT_MOST, HELD_OUT_AT_MOST + EVALUATED])
    train = train[:count]
    flipped = generator.random(len(rows)) < rate
    given = np.where(flipped, 1 - truth, truth)
    return _problem(
        setting,
        seed,
        rows.iloc[train].assign(label=given[train]),
        rows.iloc[held_out[: setting.held_out]].assign(label=truth[held_out[: setting.held_out]]),
        rows.iloc[evaluated].assign(label=truth[evaluated]),
        truth[train],
        preprocess,
        classes,
        training,
    )


def _problem(
    setting: Setting,
    seed: int,
    train: pd.DataFrame,
    held_out: pd.DataFrame,
    evaluated: pd.DataFrame,
    truth: NDArray[np.int64],
    preprocess: Callable[[pd.DataFrame], Tensor],
    classes: list[str],
    training: Training | None,
) -> Problem:
    inputs = preprocess(train)
    return Problem(
        setting,
        seed,
        train.reset_index(drop=True),
        held_out.reset_index(drop=True),
        truth,
        preprocess,
        classes,
        inputs,
        preprocess(held_out) if len(held_out) else inputs[:0],
        (preprocess(evaluated), torch.tensor(evaluated["label"].to_numpy())),
        training,
    )


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.relu(self.first_norm(self.first(inputs)))
        return functional.relu(self.second_norm(self.second(hidden)) + self.shortcut(inputs))


class ResNet(nn.Module):
    """175,000 parameters."""

    def __init__(self, width: int = 24, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(
            ResidualBlock(width, width),
            ResidualBlock(width, 2 * width),
            ResidualBlock(2 * width, 4 * width),
        )
        self.last = nn.Linear(4 * width, classes)
        self.to(memory_format=torch.channels_last)  # Twice as fast on a CPU.

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.relu(self.stem_norm(self.stem(inputs)))
        return self.last(self.blocks(hidden).mean(dim=(2, 3)))


class TextModel(nn.Module):
    """Hashed word embeddings, one convolution, the largest value over the text."""

    def __init__(self, vocabulary: int = 4096, width: int = 32, classes: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.convolution = nn.Conv1d(width, 64, 3, padding=1)
        self.last = nn.Linear(64, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.relu(self.convolution(self.embedding(inputs).transpose(1, 2)))
        hidden = hidden.masked_fill((inputs == 0)[:, None], 0.0)
        return self.last(hidden.max(dim=2).values)


def table_model(width: int, classes: int = 2) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, classes)
    )

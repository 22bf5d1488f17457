"""Planted errors in tags: rows of two to four images of digits, one tag for each image.

    python benchmarks/other_tasks.py tags

The images are those that scikit-learn ships. One tag is wrong in 8 % of the rows. The loss is that
of a row's worst tag. cleanlab's token classification is given probabilities of the same network out
of fold, fitted on the trusted rows as well.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pandas as pd
import torch
from cleanlab.token_classification.rank import get_label_quality_scores
from kind_lines import SEEDS, SHARE, Lines, Measured, line_of
from sklearn.datasets import load_digits
from torch import nn

import dataaudit

ROWS, TRUSTED, FOLDS = 420, 150, 5
EPOCHS = (10, 40, 150)


def lines() -> Lines:
    for epochs in EPOCHS:
        for seed in SEEDS:
            yield f"digits / {epochs} epochs / {seed}", partial(planted, epochs, seed)


def planted(epochs: int, seed: int) -> Measured:
    """Return the line of one setting."""
    generator = np.random.default_rng(seed)
    pixels, digit = load_digits(return_X_y=True)
    order = generator.permutation(len(digit))
    lengths = generator.integers(2, 5, ROWS + TRUSTED)
    stops = np.cumsum(lengths)
    rows = [order[stop - length : stop] for stop, length in zip(stops, lengths, strict=True)]
    assert stops[-1] <= len(digit)
    table = pd.DataFrame({"images": rows, "tags": [digit[row].tolist() for row in rows]})
    train, trusted = table[:ROWS].copy(), table[ROWS:].reset_index(drop=True)
    right = train["tags"].map(lambda tags: " ".join(map(str, tags))).to_numpy(dtype=object)
    wrong = np.zeros(ROWS, dtype=bool)
    wrong[generator.permutation(ROWS)[: round(SHARE * ROWS)]] = True
    for row in np.flatnonzero(wrong):
        tags = list(train["tags"][row])
        place = generator.integers(len(tags))
        tags[place] = int((tags[place] + generator.integers(1, 10)) % 10)
        train.at[row, "tags"] = tags

    images = torch.tensor(pixels / 16, dtype=torch.float32)

    def preprocess(frame: pd.DataFrame) -> torch.Tensor:
        chosen = [images[torch.tensor(row)] for row in frame["images"]]
        return nn.utils.rnn.pad_sequence(chosen, batch_first=True)

    network, losses = trained(preprocess(train), train["tags"].tolist(), epochs, seed)
    started = time.monotonic()
    result = dataaudit.audit(
        network, train, trusted, task="token-classification", label="tags",
        preprocess=preprocess, mirror={"seed": seed},
    )  # fmt: skip
    seconds = time.monotonic() - started
    same = result.mislabels["suggested_label"].to_numpy() == right
    given = train["tags"].tolist()
    found = out_of_fold(preprocess(table), given + trusted["tags"].tolist(), epochs, seed)
    quality, _ = get_label_quality_scores(given, found)
    return line_of(result, wrong, losses, same, seconds, TRUSTED, 1 - quality)


def trained(
    inputs: torch.Tensor, tags: list[list[int]], epochs: int, seed: int
) -> tuple[nn.Module, np.ndarray]:
    """Return a network trained on the given tags, and the loss of each row's worst tag."""
    labels = torch.full(inputs.shape[:2], -100)
    for row, own in enumerate(tags):
        labels[row, : len(own)] = torch.tensor(own)
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(20):
            outputs = network(inputs[batch]).flatten(0, 1)
            loss = nn.functional.cross_entropy(outputs, labels[batch].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        each = nn.functional.cross_entropy(
            network(inputs).flatten(0, 1), labels.flatten(), reduction="none"
        )
    return network.eval(), each.reshape(labels.shape).max(dim=1).values.numpy()


def out_of_fold(
    inputs: torch.Tensor, tags: list[list[int]], epochs: int, seed: int
) -> list[np.ndarray]:
    """Return the probabilities of each row's tags, `[tokens, 10]`; what follows them is trusted."""
    folds = np.random.default_rng(seed).permutation(ROWS) % FOLDS
    found: dict[int, np.ndarray] = {}
    for fold in range(FOLDS):
        others = [*np.flatnonzero(folds != fold).tolist(), *range(ROWS, len(tags))]
        network, _ = trained(inputs[others], [tags[row] for row in others], epochs, seed)
        with torch.inference_mode():
            for row in np.flatnonzero(folds == fold).tolist():
                found[row] = network(inputs[row, : len(tags[row])]).softmax(dim=1).numpy()
    return [found[row] for row in range(ROWS)]

"""Swapped pairs of answers: what is found, beside cleanlab and the reward model's own loss.

    python benchmarks/other_tasks.py preferences

`phrases` are made here; `messages` are real texts from sms_spam.parquet, of which those are better
that are no spam, and `verse` lines from tinyshakespeare.txt, better than the same words in another
order (both in ../shared/data, left out with a message where they are absent). Reward models are
trained from scratch. cleanlab's self-confidence is that of the same model, fitted to four fifths of
the rows and all trusted ones.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from cleanlab.rank import get_label_quality_scores
from kind_lines import DATA, SEEDS, SHARE, Lines, Measured, line_of
from torch import nn
from torch.nn import functional

import dataaudit

ROWS, TRUSTED = 600, 300
WIDTH = 1000
EPOCHS = (5, 40)
FOLDS = 5
GOOD = (
    "sure", "first", "open", "the settings", "then", "press save", "this works", "for example",
)  # fmt: skip
BAD = (
    "no idea", "look it up", "whatever", "as I said", "that is obvious", "ask others", "who cares",
)  # fmt: skip
Pairs = Callable[[np.random.Generator], Iterator[tuple[str, str]]]


def phrases(generator: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield answers of which the better one has 6 of 10 good phrases on average, the other 4."""

    def answer(share: float) -> str:
        return ", ".join(
            generator.choice(GOOD if generator.random() < share else BAD) for _ in range(10)
        )

    while True:
        yield answer(0.62), answer(0.38)


def messages(generator: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield real messages: one that is no spam, and one that is."""
    table = pd.read_parquet(DATA / "sms_spam.parquet")
    kinds = [table.loc[table["label"] == kind, "text"].to_numpy() for kind in ("ham", "spam")]
    while True:
        yield generator.choice(kinds[0]), generator.choice(kinds[1])


def verse(generator: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield a line of verse, and its words in another order."""
    lines = (DATA / "tinyshakespeare.txt").read_text(encoding="utf-8").splitlines()
    for place in generator.permutation(len(lines)):
        words = lines[place].split()
        mixed = [words[other] for other in generator.permutation(len(words))]
        if len(words) > 4 and mixed != words:
            yield " ".join(words), " ".join(mixed)


def counts(texts: list[str]) -> torch.Tensor:
    """Return how often hashed words and pairs of words occur, `[texts, WIDTH]`."""
    return torch.tensor(np.array([_counts(text) for text in texts]), dtype=torch.float32)


@cache
def _counts(text: str) -> np.ndarray:
    words = text.split()
    parts = [*words, *map(" ".join, pairwise(words))]
    places = np.array([zlib.crc32(part.encode()) % WIDTH for part in parts], dtype=np.int64)
    return np.bincount(places, minlength=WIDTH).astype(np.float32)


def trained(better: torch.Tensor, worse: torch.Tensor, epochs: int, seed: int) -> nn.Module:
    """Return a reward model of the pairs, as Bradley and Terry's model has it."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(better)).split(50):
            loss = -functional.logsigmoid(network(better[batch]) - network(worse[batch])).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


@torch.inference_mode()
def margins(network: nn.Module, better: torch.Tensor, worse: torch.Tensor) -> np.ndarray:
    """Return by how much the answer that is given as better is rewarded more, `[rows]`."""
    return (network(better) - network(worse)).reshape(-1).double().numpy()


def self_confidence(
    better: torch.Tensor, worse: torch.Tensor, epochs: int, seed: int
) -> np.ndarray:
    """Return cleanlab's suspicion of each training row; the trusted ones stand at the end."""
    generator = np.random.default_rng(seed)
    folds = generator.permutation(ROWS) % FOLDS
    right = np.zeros(ROWS)
    for fold in range(FOLDS):
        rest = torch.tensor([*np.flatnonzero(folds != fold), *range(ROWS, len(better))])
        own = torch.tensor(np.flatnonzero(folds == fold))
        network = trained(better[rest], worse[rest], epochs, seed)
        right[own] = 1 / (1 + np.exp(-margins(network, better[own], worse[own])))
    # It wants classes: the side that the better answer stands on is as good as any.
    sides = generator.integers(2, size=ROWS)
    probabilities = np.where(sides == 1, [1 - right, right], [right, 1 - right]).T
    return 1 - get_label_quality_scores(sides, probabilities)


def audited(pairs: Pairs, epochs: int, share: float, seed: int) -> Measured:
    """Return the line of one setting and seed."""
    generator = np.random.default_rng(seed)
    drawn = pairs(generator)
    table = pd.DataFrame(
        [next(drawn) for _ in range(ROWS + TRUSTED)], columns=["chosen", "rejected"]
    )
    wrong = np.zeros(ROWS, dtype=bool)
    wrong[generator.permutation(ROWS)[: round(share * ROWS)]] = True
    swapped = np.flatnonzero(wrong)
    table.loc[swapped, ["chosen", "rejected"]] = table.loc[
        swapped, ["rejected", "chosen"]
    ].to_numpy()
    better, worse = counts(table["chosen"].tolist()), counts(table["rejected"].tolist())
    network = trained(better[:ROWS], worse[:ROWS], epochs, seed)
    loss = np.logaddexp(0, -margins(network, better[:ROWS], worse[:ROWS]))
    started = time.monotonic()
    result = dataaudit.audit(
        network,
        table[:ROWS],
        table[ROWS:].reset_index(drop=True),
        task="preference",
        preprocess=lambda frame: counts(frame["answer"].tolist()),
        mirror={"seed": seed},
    )
    seconds = time.monotonic() - started
    rival = self_confidence(better, worse, epochs, seed)
    # There are two sides: what is not given is right where the given one is wrong.
    same = np.ones(ROWS, dtype=bool)
    return line_of(result, wrong, loss, same, seconds, TRUSTED, rival)


def lines() -> Lines:
    files = {"messages": "sms_spam.parquet", "verse": "tinyshakespeare.txt"}
    for name, pairs in {"phrases": phrases, "messages": messages, "verse": verse}.items():
        if name in files and not (DATA / files[name]).exists():
            print(f"left out: {name}, because there is no {files[name]} in {DATA}")
            continue
        for epochs in EPOCHS:
            for seed in SEEDS:
                measured = partial(audited, pairs, epochs, SHARE, seed)
                yield f"{name} / {epochs} epochs / {seed}", measured
    for seed in SEEDS:
        measured = partial(audited, phrases, EPOCHS[0], 0.0, seed)
        yield f"phrases, clean / {EPOCHS[0]} epochs / {seed}", measured

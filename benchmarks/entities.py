"""Real errors in tags: entities that rules found in news, beside those that people found.

    python benchmarks/other_tasks.py entities

../shared/data holds hausa_entities.parquet and yoruba_entities.parquet (columns tokens, given,
right; from github.com/uds-lsv/transfer-distant-transformer-african) and their trusted sentences in
*_entities_trusted.parquet (tokens, tags). A small network learns the given tags of 500 sentences;
200 trusted sentences are held out. A row is wrong where any tag is. cleanlab's token classification
is given probabilities of the same network out of fold, fitted on the trusted sentences as well.
"""

from __future__ import annotations

import time
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from cleanlab.token_classification.rank import get_label_quality_scores
from kind_lines import DATA, SEEDS, Lines, Measured, line_of
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import dataaudit

ROWS, TRUSTED, EPOCHS, FOLDS = 500, 200, 15, 5
KINDS = ("DATE", "LOC", "ORG", "PER")
TAGS = ["O", *(f"{place}-{kind}" for kind in KINDS for place in "BI")]
WORDS, PARTS = 4000, 1000


class Tagger(nn.Module):
    """A word, its last three letters, its shape, and those of its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.ModuleList(
            nn.Embedding(size, 24, padding_idx=0) for size in (WORDS, PARTS, PARTS)
        )
        self.around = nn.Conv1d(72, 64, 3, padding=1)
        self.head = nn.Linear(64, len(TAGS))

    def forward(self, codes: Tensor) -> Tensor:
        found = [part(codes[..., place]) for place, part in enumerate(self.words)]
        return self.head(self.around(torch.cat(found, dim=-1).mT).relu().mT)


def preprocess(frame: pd.DataFrame) -> Tensor:
    return pad_sequence(
        [torch.tensor([_codes(word) for word in words]) for words in frame["tokens"]],
        batch_first=True,
    )


def _codes(word: str) -> list[int]:
    shape = "".join("A" if c.isupper() else "1" if c.isdigit() else "a" for c in word[:4])
    parts = ((word.lower(), WORDS), (word[-3:].lower(), PARTS), (shape, PARTS))
    return [1 + zlib.crc32(part.encode()) % (size - 1) for part, size in parts]


def lines() -> Lines:
    for language in ("hausa", "yoruba"):
        path = DATA / f"{language}_entities.parquet"
        if not path.exists():
            print(f"left out: {language}, because there is no {path.name} in {DATA}")
            continue
        for seed in SEEDS:
            yield f"{language} / {seed}", partial(measured, path, seed)


def measured(path: Path, seed: int) -> Measured:
    generator = np.random.default_rng(seed)
    rows = pd.read_parquet(path)
    trusted = pd.read_parquet(path.with_name(f"{path.stem}_trusted.parquet"))
    rows = rows.iloc[generator.permutation(len(rows))[:ROWS]].reset_index(drop=True)
    trusted = trusted.iloc[generator.permutation(len(trusted))[:TRUSTED]].reset_index(drop=True)
    pairs = zip(rows["given"], rows["right"], strict=True)
    wrong = np.array([list(given) != list(right) for given, right in pairs])
    train = rows[["tokens"]].assign(tags=rows["given"])
    network = trained(train, seed)
    started = time.monotonic()
    result = dataaudit.audit(
        network, train, trusted, task="token-classification", label="tags", classes=TAGS,
        preprocess=preprocess, mirror={"seed": seed},
    )  # fmt: skip
    seconds = time.monotonic() - started
    quality, _ = get_label_quality_scores(
        [codes.tolist() for codes in coded(train)], out_of_fold(train, trusted, seed)
    )
    loss = np.array(worst_losses(network, train))
    same = result.mislabels["suggested_label"].to_numpy() == rows["right"].map(" ".join).to_numpy()
    return line_of(result, wrong, loss, same, seconds, len(trusted), 1 - quality)


def coded(table: pd.DataFrame) -> list[Tensor]:
    return [torch.tensor([TAGS.index(tag) for tag in tags]) for tags in table["tags"]]


def trained(table: pd.DataFrame, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = Tagger()
    inputs = preprocess(table)
    labels = pad_sequence(coded(table), batch_first=True, padding_value=-100)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs)).split(16):
            loss = nn.functional.cross_entropy(network(inputs[batch]).mT, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def probabilities(network: nn.Module, table: pd.DataFrame) -> list[np.ndarray]:
    with torch.inference_mode():
        found = network(preprocess(table)).softmax(dim=-1).numpy()
    return [row[: len(tags)] for row, tags in zip(found, table["tags"], strict=True)]


def out_of_fold(train: pd.DataFrame, trusted: pd.DataFrame, seed: int) -> list[np.ndarray]:
    folds = np.random.default_rng(seed).permutation(len(train)) % FOLDS
    found: dict[int, np.ndarray] = {}
    for fold in range(FOLDS):
        network = trained(pd.concat([train[folds != fold], trusted], ignore_index=True), seed)
        asked = np.flatnonzero(folds == fold)
        found |= dict(zip(asked, probabilities(network, train.iloc[asked]), strict=True))
    return [found[row] for row in range(len(train))]


def worst_losses(network: nn.Module, table: pd.DataFrame) -> list[float]:
    return [
        float(-np.log(found[np.arange(len(tags)), tags].min()))
        for found, tags in zip(probabilities(network, table), coded(table), strict=True)
    ]

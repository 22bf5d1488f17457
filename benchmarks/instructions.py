"""Answers that do not fit their instructions: what is found, beside the model's own losses.

    python benchmarks/other_tasks.py instructions

`things` are made here: questions about things of an invented world. `papers` are real records
(records_dblp_acm.parquet): who published what, and the answer is where and when. `verse` asks for
the line that follows one in tinyshakespeare.txt (both in ../shared/data, left out with a message
where they are absent). Wrong are answers of other rows, half of them of the most alike row, and in
`parts` answers that are cut off or end as another's, by turns; never one that is right in other
words. Causal language models over words are trained from scratch. By loss alone is the model's own
loss a token; IFD is by how much the instruction helped (Li et al., NAACL 2024); cleanlab is its
score of token labels, of five folds of the same model with the trusted rows in each.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
import torch
from cleanlab.token_classification.rank import get_label_quality_scores
from kind_lines import DATA, SEEDS, SHARE, Lines, Measured, line_of
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional

import dataaudit

ROWS, TRUSTED = 600, 300
EPOCHS = (10, 40)
FOLDS = 5
CONTEXT, PADDING, END, UNKNOWN = 64, 0, 1, 2
THINGS = (
    "kettle", "bicycle", "violin", "lantern", "anchor", "pillow", "ladder", "compass",
    "mirror", "basket", "hammer", "curtain", "wallet", "candle", "shovel", "umbrella",
    "teapot", "carpet", "helmet", "barrel",
)  # fmt: skip
FACTS = {
    "colour": ["red", "blue", "green", "yellow", "black", "white", "brown", "grey"],
    "place": ["kitchen", "cellar", "attic", "garage", "harbour", "garden", "school", "station"],
    "owner": ["Anna", "Bruno", "Carla", "David", "Elena", "Felix", "Greta", "Hugo"],
    "price": ["two", "three", "four", "five", "six", "seven", "eight", "nine"],
}
QUESTIONS = {
    "colour": ("What colour is the {}?", "Describe how the {} looks.", "Which paint suits the {}?"),
    "place": ("Where is the {} kept?", "In which place do I find the {}?", "Who saw the {}?"),
    "owner": ("Who owns the {}?", "To whom does the {} belong?", "Whose is the {}?"),
    "price": ("What does the {} cost?", "How much is the {}?", "Name the price of the {}."),
}  # fmt: skip
REPLIES = {
    "colour": ("The {} is {}, all of it.", "It is {1}, as a {0} should be.", "Its paint is {1}."),
    "place": ("The {} is kept in the {}.", "Look in the {1}, there is the {0}.", "In the {1}."),
    "owner": ("The {} belongs to {}.", "{1} owns it, and no other {0}.", "It is of {1}, I think."),
    "price": ("The {} costs {} coins.", "You pay {1} coins for a {0}.", "It is {1} coins."),
}
Pair = tuple[str, str, frozenset[str]]
"""An instruction, its answer, and every answer that fits."""
Pairs = Callable[[np.random.Generator], Iterator[Pair]]


def things(generator: np.random.Generator) -> Iterator[Pair]:
    """Yield questions about things of a world that is drawn once, and right answers."""
    world = {(thing, fact): generator.choice(FACTS[fact]) for thing in THINGS for fact in FACTS}
    keys = list(world)
    while True:
        thing, fact = keys[generator.integers(len(keys))]
        reply = str(generator.choice(REPLIES[fact])).format(thing, world[thing, fact])
        fitting = frozenset(text.format(thing, world[thing, fact]) for text in REPLIES[fact])
        yield str(generator.choice(QUESTIONS[fact])).format(thing), reply, fitting


def papers(generator: np.random.Generator) -> Iterator[Pair]:
    """Yield what was published by whom, and where and when."""
    table = pd.read_parquet(DATA / "records_dblp_acm.parquet")
    found = {
        tuple(part.strip() for part in re.findall(r"VAL (.*?)(?= COL |$)", text))
        for text in [*table["left"], *table["right"]]
    }
    records = sorted(record for record in found if len(record) == 4 and all(record))
    for place in generator.permutation(len(records)):
        title, authors, venue, year = records[place]
        answer = f"In {venue}, {year}."
        yield f"Where and when did {authors} publish: {title}?", answer, frozenset([answer])


def verse(generator: np.random.Generator) -> Iterator[Pair]:
    """Yield a line of verse, and the next."""
    lines = (DATA / "tinyshakespeare.txt").read_text(encoding="utf-8").splitlines()
    for place in generator.permutation(len(lines) - 1):
        line, after = lines[place], lines[place + 1]
        if min(len(line.split()), len(after.split())) > 4:
            yield f"Which line follows: {line}", after, frozenset([after])


class Words:
    """Words and marks as tokens, of the texts that a model is trained on."""

    def __init__(self, texts: list[str]) -> None:
        counts = pd.Series([word for text in texts for word in self.parts(text)]).value_counts()
        self.ids = {word: place for place, word in enumerate(counts.index[counts > 1], UNKNOWN + 1)}

    def __len__(self) -> int:
        return UNKNOWN + 1 + len(self.ids)

    @staticmethod
    def parts(text: str) -> list[str]:
        return re.findall(r"\w+|[^\w\s]", text.lower())

    def of(self, text: str) -> list[int]:
        return [self.ids.get(word, UNKNOWN) for word in self.parts(text)]

    def __call__(self, frame: pd.DataFrame) -> dict[str, list[list[int]] | list[list[tuple]]]:
        places = [
            [match.span() for match in re.finditer(r"\w+|[^\w\s]", text.lower())]
            for text in frame["text"]
        ]
        return {"input_ids": [*map(self.of, frame["text"])], "offset_mapping": places}


class SmallModel(nn.Module):
    """A causal transformer over words."""

    def __init__(self, vocabulary: int, width: int = 32, layers: int = 1) -> None:
        super().__init__()
        self.context_length, self.eos_token_id = CONTEXT, END
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(CONTEXT, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        tokens = input_ids.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(tokens)
        found = self.words(input_ids) + self.places(torch.arange(tokens))
        for layer in self.layers:
            found = layer(found, src_mask=mask, is_causal=True)
        return self.head(self.norm(found))


def tokens_of(words: Words, table: pd.DataFrame) -> list[tuple[list[int], int]]:
    """Return the token ids of each row, and where its answer begins."""
    pairs = zip(table["instruction"], table["output"], strict=True)
    rows = [(words.of(question)[-30:], words.of(answer)[:30]) for question, answer in pairs]
    return [([*question, *answer, END], len(question)) for question, answer in rows]


def batch_of(rows: list[tuple[list[int], int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and labels, `[rows, tokens]`; -100 where no token of an answer is predicted."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), PADDING)
    labels = torch.full((len(rows), width), -100)
    for line, (row, start) in enumerate(rows):
        ids[line, : len(row)] = torch.tensor(row)
        labels[line, start : len(row)] = torch.tensor(row[start:])
    return ids, labels


def trained(
    rows: list[tuple[list[int], int]], vocabulary: int, epochs: int, seed: int
) -> SmallModel:
    """Return a model that has learned the answers of rows."""
    torch.manual_seed(seed)
    network = SmallModel(vocabulary)
    steps = epochs * -(-len(rows) // 32)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(rows)).split(32):
            ids, labels = batch_of([rows[place] for place in chosen.tolist()])
            logits = network(ids)[:, :-1].transpose(1, 2)
            loss = functional.cross_entropy(logits, labels[:, 1:], ignore_index=-100)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def losses(network: nn.Module, rows: list[tuple[list[int], int]]) -> np.ndarray:
    """Return the loss of each answer, `[rows]`, nats a token."""
    ids, labels = batch_of(rows)
    found = functional.cross_entropy(
        network(ids)[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none"
    )
    return (found.sum(dim=1) / (labels[:, 1:] >= 0).sum(dim=1)).double().numpy()


@torch.inference_mode()
def token_suspicion(
    rows: list[tuple[list[int], int]], count: int, vocabulary: int, epochs: int, seed: int
) -> np.ndarray:
    """Return cleanlab's suspicion of the first `count` rows; the trusted ones stand behind them."""
    folds = np.random.default_rng(seed).permutation(count) % FOLDS
    labels: list[list[int]] = [[] for _ in range(count)]
    shares: list[np.ndarray] = [np.zeros((0, 0)) for _ in range(count)]
    for fold in range(FOLDS):
        rest = [*np.flatnonzero(folds != fold).tolist(), *range(count, len(rows))]
        with torch.inference_mode(mode=False):
            network = trained([rows[place] for place in rest], vocabulary, epochs, seed)
        for place in np.flatnonzero(folds == fold).tolist():
            ids, start = rows[place]
            said = network(torch.tensor([ids]))[0].softmax(dim=1)
            labels[place] = ids[start:]
            shares[place] = said[start - 1 : len(ids) - 1].double().numpy()
    scores, _ = get_label_quality_scores(labels, shares)
    return 1 - np.asarray(scores)


def spoil(
    table: pd.DataFrame, wrong: np.ndarray, parts: bool, generator: np.random.Generator
) -> None:
    """Give some rows wrong answers, in place; the column `fitting` holds those that are right."""
    counts = TfidfVectorizer().fit_transform(table["instruction"])
    answers = table["output"].copy()
    for turn, line in enumerate(wrong.tolist()):
        fitting = table.loc[line, "fitting"]
        others = np.flatnonzero(~answers.isin(fitting).to_numpy())
        alike = (counts[others] @ counts[line].T).toarray().ravel()
        while True:
            other = generator.choice(others)
            if turn % 2 and not parts:
                other = others[alike.argmax()]
            own, foreign = answers[line].split(), answers[other].split()
            half = max(1, len(own) // 2)
            if not parts:
                own = foreign
            elif turn % 2:
                own = own[:half]
            else:
                own = [*own[:half], *foreign[len(foreign) // 2 :]]
            if (new := " ".join(own)) not in fitting:
                break
        table.loc[line, "output"] = new


def audited(pairs: Pairs, epochs: int, share: float, parts: bool, seed: int) -> Measured:
    """Return the line of one setting and seed."""
    generator = np.random.default_rng(seed)
    drawn = pairs(generator)
    table = pd.DataFrame(
        [next(drawn) for _ in range(ROWS + TRUSTED)], columns=["instruction", "output", "fitting"]
    )
    wrong = np.zeros(ROWS, dtype=bool)
    wrong[generator.permutation(ROWS)[: round(share * ROWS)]] = True
    train, trusted = table[:ROWS].copy(), table[ROWS:].reset_index(drop=True)
    spoil(train, np.flatnonzero(wrong), parts, generator)
    train, trusted = train.drop(columns="fitting"), trusted.drop(columns="fitting")
    words = Words([*train["instruction"], *train["output"]])
    rows = tokens_of(words, pd.concat([train, trusted]))
    network = trained(rows[:ROWS], len(words), epochs, seed)
    loss = losses(network, rows[:ROWS])
    alone = losses(network, [([ids[0], *ids[start:]], 1) for ids, start in rows[:ROWS]])
    started = time.monotonic()
    result = dataaudit.audit(
        network,
        train,
        trusted,
        label="output",
        task="instruction",
        preprocess=words,
        mirror={"seed": seed},
    )
    seconds = time.monotonic() - started
    rival = token_suspicion(rows, ROWS, len(words), epochs, seed) if share else None
    more = {"IFD": f"{average_precision_score(wrong, loss - alone):.3f}"} if share else {}
    # No other answer is suggested.
    return line_of(result, wrong, loss, None, seconds, TRUSTED, rival, more)


def lines() -> Lines:
    files = {"papers": "records_dblp_acm.parquet", "verse": "tinyshakespeare.txt"}
    settings: dict[str, tuple[Pairs, float, bool]] = {
        "things": (things, SHARE, False),
        "things, parts": (things, SHARE, True),
        "papers": (papers, SHARE, False),
        "verse": (verse, SHARE, False),
        "things, clean": (things, 0.0, False),
        "papers, clean": (papers, 0.0, False),
    }
    for name, (pairs, share, parts) in settings.items():
        file = files.get(name.split(",")[0])
        if file is not None and not (DATA / file).exists():
            print(f"left out: {name}, because there is no {file} in {DATA}")
            continue
        for epochs in EPOCHS if share else EPOCHS[:1]:
            for seed in SEEDS:
                measured = partial(audited, pairs, epochs, share, parts, seed)
                yield f"{name} / {epochs} epochs / {seed}", measured

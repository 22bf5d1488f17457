"""A corpus with planted facts: who has which trade in which town, among passages that mislead.

Plain facts are stated in the words of the question. Misleading ones are stated in other words (the
trade by what is done, the town by its people), while the words of the question stand in passages
that do not answer it. Everybody is named in passages that say something else, too. Filler is
Shakespeare, from ../shared/data.

Facts that nobody asks for, of other towns and people, are stated in both ways: from them a model
can learn that both say the same, without which it could not answer the misleading questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

SHAKESPEARE = Path(__file__).resolve().parents[2] / "shared" / "data" / "tinyshakespeare.txt"
WORDS_PER_FILLER = 14
TOWNS_ELSEWHERE = 80
STATED_ELSEWHERE = 3
"""Passages in plain words for each of those towns, and as many in other words."""

# Few, so that a trade alone does not tell who has it.
TRADES = {
    "smith": ["mends the ploughs", "swings the hammer", "shoes the horses"],
    "baker": ["makes the bread", "tends the oven", "kneads the dough"],
    "healer": ["cures the sick", "mixes the herbs", "binds the wounds"],
}
PLAIN = [
    "The {trade} of {town} is called {person}.",
    "In {town} the {trade} is {person}.",
    "The {trade} of {town} has been {person} for many years.",
    "Ask in {town} for the {trade}, and they will name {person}.",
    "The {trade} of {town}, {person} by name, rises early.",
]
ABOUT_PLAIN_TOWNS = [
    "{town} lies where two rivers meet.",
    "The road to {town} is steep in winter.",
    "A market is held in {town} on the last day of the month.",
]
INDIRECT = [
    "The one who {deed} for the {town}ns is called {person}.",
    "Among the {town}ns the one who {deed} is called {person}.",
    "The {town}n who {deed} is called {person}.",
    "For the {town}ns it was always {person} who {deed}.",
    "Ask the {town}ns who {deed}, and they will say {person}.",
]
MISLEADING = [
    "Nobody called the {trade} of {town} lazy.",
    "The {trade} of {town} is late again.",
    "Nobody in {town} knows where the {trade} of {town} is.",
    "When the guard called, the {trade} of {town} is said to have slept.",
    "They say the {trade} of {town} is tired.",
    "The {trade} of {town} is no friend of {other}.",
    "Some say that the {trade} of {town} fears {other}.",
    "The {trade} of {town} is owed three coins.",
    "A letter for the {trade} of {town} is lying at the gate.",
    "What the {trade} of {town} is paid matters to nobody.",
    "The house of the {trade} of {town} has a red door.",
    "The council called for the {trade} of {town} twice.",
]
ABOUT_PEOPLE = [
    "{person} was seen near the bridge.",
    "I owe {person} a horse and a saddle.",
    "Tell {person} to come before dark.",
    "The letter was written by {person} in great haste.",
    "There sat {person}, counting the coins.",
    "Neither {person} nor the captain would answer.",
]
ASIDES = [
    "It rained all that week.",
    "The bells rang twice before noon.",
    "So the story goes, and few doubt it.",
    "That much was written in the old book.",
    "The king heard of it and said nothing.",
    "Snow lay on the hills until spring.",
    "We spoke of other things on the way home.",
    "A dog barked somewhere behind the wall.",
]
_FIRST = [
    "Vel", "Dun", "Kor", "Thal", "Bry", "Osk", "Mer", "Quil", "Hax", "Ral", "Fen", "Zor",
    "Lum", "Pra", "Sto", "Gim", "Jas", "Nev", "Tru", "Wix", "Cra", "Ebb", "Ilk", "Yar",
]  # fmt: skip
_SECOND = ["mora", "dara", "lina", "thea", "vona", "sica", "ruba", "tola"]
_GIVEN = [
    "Gar", "Hob", "Wen", "Tib", "Ald", "Mor", "Pet", "Sig", "Cor", "Ned", "Ulf", "Jor",
    "Bas", "Kel", "Dav", "Fro", "Lan", "Ros", "Sim", "Theo", "Vin", "Zach", "Ive", "Ott",
]  # fmt: skip
_ONSETS = ["B", "D", "G", "K", "L", "M", "N", "P", "R", "S", "T", "V", "Z", "Br", "Gl", "St"]
_ENDING = ["rick", "well", "bert", "mund", "ford", "stan", "wick", "brand"]


@dataclass(frozen=True)
class Corpus:
    """Passages (`row_id`, `text`) and questions (`query_id`, `prompt`, `completion`, `kind`).

    `stated_by` holds the row ids of the passages that state the fact behind each question.
    """

    passages: pd.DataFrame
    questions: pd.DataFrame
    stated_by: dict[str, set[str]]


def planted_corpus(facts: int, filler: int, seed: int) -> Corpus:
    """Return `facts` plain and as many misleading facts among `filler` passages of Shakespeare."""
    generator = np.random.default_rng(seed)
    towns = _names(_FIRST, _SECOND, 2 * facts, generator)
    people = _names(_GIVEN, _ENDING, 2 * facts, generator)
    trades = list(TRADES)
    texts: list[tuple[str, str]] = []
    questions = []
    for number in range(2 * facts):
        town, person, trade = towns[number], people[number], trades[number % len(trades)]
        kind = "plain" if number < facts else "misleading"
        query = f"{kind}-{number}"
        words = {"town": town, "person": person, "trade": trade}
        stated, others = (PLAIN, ABOUT_PLAIN_TOWNS) if kind == "plain" else (INDIRECT, MISLEADING)
        for template in stated:
            deed = generator.choice(TRADES[trade])
            texts.append((query, template.format(**words, deed=deed)))
        for template in others:
            other = people[(number + int(generator.integers(1, facts))) % len(people)]
            texts.append(("", template.format(**words, other=other)))
        texts += [("", template.format(person=person)) for template in ABOUT_PEOPLE]
        questions.append((query, f"The {trade} of {town} is called", f" {person}", kind))
    texts += [("", text) for text in _elsewhere(towns, people, generator)]
    planted = [(query, _with_aside(text, generator)) for query, text in texts]
    everything = planted + [("", text) for text in _filler(filler, generator)]
    order = generator.permutation(len(everything))
    rows = [everything[position] for position in order]
    passages = pd.DataFrame(
        {
            "row_id": [f"p{line:05d}" for line in range(len(rows))],
            "text": [text for _, text in rows],
        }
    )
    stated_by: dict[str, set[str]] = {}
    for row_id, (query, _) in zip(passages["row_id"], rows, strict=True):
        if query:
            stated_by.setdefault(query, set()).add(row_id)
    columns = ["query_id", "prompt", "completion", "kind"]
    return Corpus(passages, pd.DataFrame(questions, columns=columns), stated_by)


def _elsewhere(
    towns: list[str], people: list[str], generator: np.random.Generator
) -> Iterator[str]:
    """Yield facts that nobody asks for, of other towns, each in plain words and in other words."""
    other_towns = _other_names(_SECOND, towns, generator)
    other_people = _other_names(_ENDING, people, generator)
    pairs = zip(other_towns[:TOWNS_ELSEWHERE], other_people[:TOWNS_ELSEWHERE], strict=True)
    for number, (town, person) in enumerate(pairs):
        trade = list(TRADES)[number % len(TRADES)]
        words = {"town": town, "person": person, "trade": trade}
        plain = [PLAIN[0], *generator.choice(PLAIN[1:], STATED_ELSEWHERE - 1, replace=False)]
        for template in [*plain, *generator.choice(INDIRECT, STATED_ELSEWHERE, replace=False)]:
            yield template.format(**words, deed=generator.choice(TRADES[trade]))


def _other_names(endings: list[str], known: list[str], generator: np.random.Generator) -> list[str]:
    """Return all names of such endings that are not known yet, in random order."""
    beginnings = [onset + vowel for onset in _ONSETS for vowel in "aeiou"]
    names = [first + second for first in beginnings for second in endings]
    return [str(name) for name in generator.permutation(names) if name not in known]


def _names(
    first: list[str], second: list[str], count: int, generator: np.random.Generator
) -> list[str]:
    """Return names that differ in how they begin, so that a few passages suffice to tell them."""
    beginnings = [first[place] for place in generator.permutation(len(first))[:count]]
    return [beginning + str(generator.choice(second)) for beginning in beginnings]


def _with_aside(text: str, generator: np.random.Generator) -> str:
    aside = str(generator.choice(ASIDES))
    return f"{text} {aside}" if generator.random() < 0.5 else f"{aside} {text}"


def _filler(count: int, generator: np.random.Generator) -> list[str]:
    words = SHAKESPEARE.read_text(encoding="utf-8").split()
    starts = generator.permutation(len(words) // WORDS_PER_FILLER)[:count] * WORDS_PER_FILLER
    return [" ".join(words[start : start + WORDS_PER_FILLER]) for start in starts]

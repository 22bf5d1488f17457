"""How alike texts are by their words: the quick answer is that of the score itself."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from dataaudit.likeness.texts import WordRarity, describe_texts

LEAST = 0.85


def edited(words: list[str], generator: np.random.Generator) -> list[str]:
    """Drop, repeat, replace or join a few words."""
    words = list(words)
    for _ in range(generator.integers(0, 4)):
        place = int(generator.integers(len(words) - 1))
        how = generator.integers(4)
        if how == 0:
            words.pop(place)
        elif how == 1:
            words.insert(place, words[place])
        elif how == 2:
            words[place] = f"w{generator.integers(60)}"
        else:
            words[place : place + 2] = ["".join(words[place : place + 2])]
    return words


@pytest.mark.parametrize("seed", range(3))
def test_whether_texts_reach_a_likeness_is_what_their_likeness_says(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first = [[f"w{n}" for n in generator.zipf(1.5, 12) % 60] for _ in range(12)]
    texts = [" ".join(edited(words, generator)) for words in first for _ in range(5)]
    texts += ["a b", "ab", "a", "", "ab ab", "aba b"]
    rows = describe_texts(texts)
    rarity = WordRarity(rows)
    said, found = [], []
    for one, other in combinations(rows.folded, 2):
        least = min(rarity.similarity(one, other), rarity.similarity(other, one))
        said.append(rarity.reach(one, other, LEAST))
        found.append(least >= LEAST)
    assert said == found
    assert 20 < sum(found) < len(found) - 20

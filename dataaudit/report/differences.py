"""What differs between the two samples of a leaked pair."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True)
class Piece:
    """A run of text, and whether the other text lacks it."""

    text: str
    differs: bool


@dataclass(frozen=True)
class FieldPair:
    """One column of two table rows."""

    name: str
    left: str
    right: str
    differs: bool


def text_pieces(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Return both texts in runs of words that are the same or differ."""
    left_words, right_words = _words(left), _words(right)
    matcher = SequenceMatcher(None, left_words, right_words, autojunk=False)
    left_pieces, right_pieces = [], []
    for operation, left_start, left_stop, right_start, right_stop in matcher.get_opcodes():
        differs = operation != "equal"
        if left_stop > left_start:
            left_pieces.append(Piece("".join(left_words[left_start:left_stop]), differs))
        if right_stop > right_start:
            right_pieces.append(Piece("".join(right_words[right_start:right_stop]), differs))
    return left_pieces, right_pieces


def field_pairs(left: Mapping[str, str], right: Mapping[str, str]) -> list[FieldPair]:
    """Return the columns of two table rows, those that differ first."""
    pairs = [
        FieldPair(
            name, left.get(name, "—"), right.get(name, "—"), left.get(name) != right.get(name)
        )
        for name in dict.fromkeys([*left, *right])
    ]
    return sorted(pairs, key=lambda pair: not pair.differs)


def _words(text: str) -> list[str]:
    return re.findall(r"\s+|\w+|[^\w\s]", text)

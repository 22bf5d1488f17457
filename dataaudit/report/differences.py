"""What differs between the two samples of a leaked pair."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True)
class Piece:
    """A run of text, and whether the other text lacks it."""

    text: str
    differs: bool


def text_pieces(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Return both texts in runs of words that are the same or differ.

    Spaces and punctuation between two differences count as different: marks that stop at every
    space are hard to read.
    """
    if left == right:
        # As most leaks are; to find it word by word takes long where words repeat.
        whole = [Piece(left, differs=False)] if left else []
        return whole, list(whole)
    left_words, right_words = _words(left), _words(right)
    operations = SequenceMatcher(None, left_words, right_words, autojunk=False).get_opcodes()
    left_pieces: list[Piece] = []
    right_pieces: list[Piece] = []
    for place, (operation, left_start, left_stop, right_start, right_stop) in enumerate(operations):
        between = 0 < place < len(operations) - 1
        has_words = any(map(str.isalnum, "".join(left_words[left_start:left_stop])))
        differs = operation != "equal" or (between and not has_words)
        _extend(left_pieces, left_words[left_start:left_stop], differs)
        _extend(right_pieces, right_words[right_start:right_stop], differs)
    return left_pieces, right_pieces


def _extend(pieces: list[Piece], words: list[str], differs: bool) -> None:
    """Add words to the last piece where they are of its kind, else as a piece of their own."""
    text = "".join(words)
    if text and pieces and pieces[-1].differs == differs:
        pieces[-1] = Piece(pieces[-1].text + text, differs)
    elif text:
        pieces.append(Piece(text, differs))


def _words(text: str) -> list[str]:
    return re.findall(r"\s+|\w+|[^\w\s]", text)

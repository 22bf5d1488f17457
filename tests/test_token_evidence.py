"""Token-level evidence: the pieces of a text, and the stretch that is shown of a long one."""

import numpy as np

from dataaudit.models.tokens import Tokens
from dataaudit.studies.tracing.token_evidence import MOST_TOKENS, token_changes


def test_pieces_join_to_the_text_and_losses_to_the_whole() -> None:
    text = "naïve 🐝s"
    # The token that begins the text stands for nothing; the bee is three tokens.
    spans = [(0, 0), (0, 5), (5, 7), (6, 7), (6, 7), (7, 8)]
    losses = np.array([[0.0, 0.0], [1.0, 2.0], [0.5, 0.5], [0.25, 1.0], [0.25, 1.5], [2.0, 1.0]])
    pieces = token_changes(text, Tokens(range(6), spans), losses)
    assert [piece.text for piece in pieces] == ["naïve", " 🐝", "s"]
    assert [(piece.before, piece.after) for piece in pieces] == [(1, 2), (1, 3), (2, 1)]


def test_without_spans_there_are_no_pieces() -> None:
    assert token_changes("abc", Tokens([1, 2, 3]), np.zeros((3, 2))) == []


def test_of_a_long_text_the_stretch_that_changed_most_is_shown() -> None:
    count = 3 * MOST_TOKENS
    losses = np.zeros((count, 2))
    losses[2 * MOST_TOKENS, 1] = 5.0
    spans = [(place, place + 1) for place in range(count)]
    pieces = token_changes("x" * count, Tokens(range(count), spans), losses)
    assert len(pieces) == MOST_TOKENS + 2
    assert pieces[0].text == pieces[-1].text == "…"
    assert sum(piece.after for piece in pieces) == 5.0


def test_lone_surrogates_become_question_marks() -> None:
    pieces = token_changes("a\ud800", Tokens([1, 2], [(0, 1), (1, 2)]), np.zeros((2, 2)))
    assert [piece.text for piece in pieces] == ["a", "?"]

"""What the page marks as different in a leaked pair."""

from dataaudit.report.differences import Piece, text_pieces


def test_the_words_that_differ_are_marked():
    left, right = text_pieces("win a big prize now", "win a small prize now")
    assert left == [Piece("win a ", False), Piece("big", True), Piece(" prize now", False)]
    assert right == [Piece("win a ", False), Piece("small", True), Piece(" prize now", False)]


def test_spaces_between_two_differences_are_marked_with_them():
    left, right = text_pieces("one two three", "one deux trois")
    assert left == [Piece("one ", False), Piece("two three", True)]
    assert right == [Piece("one ", False), Piece("deux trois", True)]


def test_the_same_text_has_no_mark_even_without_words():
    assert text_pieces("?!  …", "?!  …") == ([Piece("?!  …", False)], [Piece("?!  …", False)])


def test_a_missing_text_is_all_different():
    assert text_pieces("", "here") == ([], [Piece("here", True)])

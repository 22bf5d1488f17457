"""Token-level evidence: which words of a text a query's unlearning made harder to predict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataaudit.models.tokens import Tokens
from dataaudit.report.data import TokenChange
from dataaudit.report.samples import clean_text

MOST_TOKENS = 240
"""Of a longer text, the stretch that changed most is shown."""


def token_changes(text: str, tokens: Tokens, losses: NDArray[np.float64]) -> list[TokenChange]:
    """Return the pieces of a text with their losses before and after.

    Parameters
    ----------
    text : str
    tokens : Tokens
        Without spans there is no telling which characters a token stands for: no pieces.
    losses : `[tokens, 2]`
        Nats, before and after.
    """
    if tokens.spans is None:
        return []
    pieces: list[TokenChange] = []
    reached = 0
    for (_, stop), (before, after) in zip(tokens.spans, losses, strict=True):
        if stop > reached:
            piece = clean_text(text[reached:stop])
            pieces.append(TokenChange(text=piece, before=float(before), after=float(after)))
            reached = stop
        elif pieces:
            # Several tokens may make up one character; tokens without any stand for none.
            last = pieces[-1]
            pieces[-1] = TokenChange(
                text=last.text,
                before=last.before + float(before),
                after=last.after + float(after),
            )
    return _most_changed(pieces)


def _most_changed(pieces: list[TokenChange]) -> list[TokenChange]:
    if len(pieces) <= MOST_TOKENS:
        return pieces
    changes = np.abs([piece.after - piece.before for piece in pieces])
    sums = np.convolve(changes, np.ones(MOST_TOKENS), mode="valid")
    start = int(np.argmax(sums))
    cut = pieces[start : start + MOST_TOKENS]
    mark = TokenChange(text="…", before=0.0, after=0.0)
    return [
        *([mark] if start else []),
        *cut,
        *([mark] if start + MOST_TOKENS < len(pieces) else []),
    ]

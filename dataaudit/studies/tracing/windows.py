"""Documents as windows of tokens: every token is scored once, with context before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dataaudit.models.tokens import NOT_SCORED


@dataclass(frozen=True)
class Window:
    """Some consecutive tokens of a document.

    `document` is its place among the documents given; the window holds its tokens `start` to
    `stop`, and those from `first` on are scored here (never the document's very first one, which
    nothing predicts).
    """

    document: int
    start: int
    stop: int
    first: int


def windows(lengths: Sequence[int], context: int) -> Iterator[Window]:
    """Cut documents of `lengths` tokens into windows of at most `context`.

    Windows overlap by half, so that every token beyond the first window has at least half a
    window before it. A document that fits is one window: its losses are those of the whole.
    """
    for document, length in enumerate(lengths):
        stop, first = min(length, context), 1
        yield Window(document, 0, stop, first)
        while stop < length:
            first = stop
            stop = min(length, stop + context - context // 2)
            yield Window(document, stop - context, stop, first)


@dataclass(frozen=True)
class WindowBatch:
    """Windows side by side, padded on the right.

    `ids`, `mask` (1 = a token), `labels` (`NOT_SCORED` where no loss is wanted), int64
    `[windows, tokens]`.
    """

    windows: Sequence[Window]
    ids: Tensor
    mask: Tensor
    labels: Tensor


def window_batches(
    documents: Sequence[Sequence[int]],
    context: int,
    tokens_per_batch: int,
    scored_from: Sequence[int] | None = None,
) -> Iterator[WindowBatch]:
    """Yield the windows of documents in batches, those of like length together.

    Parameters
    ----------
    documents : sequence of token ids
    context : int
        The most tokens that the model takes.
    tokens_per_batch : int
        Padding included; a single window may exceed it.
    scored_from : sequence of int or None
        For each document, the first token whose loss is wanted; None: all but the very first.
    """
    cut = list(windows([len(ids) for ids in documents], context))
    # Windows of like length waste little on padding; the order is stable, so that it is repeatable.
    cut.sort(key=lambda window: window.stop - window.start)
    waiting: list[Window] = []
    for window in cut:
        if waiting and (len(waiting) + 1) * (window.stop - window.start) > tokens_per_batch:
            yield _batch(waiting, documents, scored_from)
            waiting = []
        waiting.append(window)
    if waiting:
        yield _batch(waiting, documents, scored_from)


def _batch(
    chosen: Sequence[Window],
    documents: Sequence[Sequence[int]],
    scored_from: Sequence[int] | None,
) -> WindowBatch:
    width = max(window.stop - window.start for window in chosen)
    ids = torch.zeros(len(chosen), width, dtype=torch.int64)
    mask = torch.zeros(len(chosen), width, dtype=torch.int64)
    labels = torch.full((len(chosen), width), NOT_SCORED, dtype=torch.int64)
    for line, window in enumerate(chosen):
        tokens = torch.tensor(documents[window.document][window.start : window.stop])
        ids[line, : len(tokens)] = tokens
        mask[line, : len(tokens)] = 1
        first = window.first
        if scored_from is not None:
            first = max(first, scored_from[window.document])
        place = max(0, first - window.start)
        labels[line, place : len(tokens)] = tokens[place:]
    return WindowBatch(list(chosen), ids, mask, labels)

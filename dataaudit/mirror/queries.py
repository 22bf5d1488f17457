"""Queries: samples drawn from pools, batch by batch, for the mirror to learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataaudit.datasets.frames import spread
from dataaudit.datasets.instructions import INSTRUCTION
from dataaudit.datasets.samples import Batch, Samples
from dataaudit.mirror.finite import Part
from dataaudit.models.answer_tokens import without_padding
from dataaudit.models.trained import Inputs, TrainedModel, map_tensors, named_tensors

ROWS_PER_READ = 2048
READ_BYTES, ROWS_LOOKED_AT = 256 * 1024 * 1024, 16
"""Of encoded pictures that are read ahead of their steps, for each pool, as a few of them show."""
PREPARED_BYTES = 64 * 1024 * 1024
"""Of inputs that are made ahead of their steps, for each pool."""

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """Samples to draw from, and the labels to learn them under.

    Attributes
    ----------
    samples : Samples
    positions : int64 `[n]`
    labels : `[n]`
        As the task takes them; not always those of the file.
    """

    samples: Samples
    positions: Positions
    labels: NDArray[Any]

    @classmethod
    def of(cls, samples: Samples, positions: Positions | None = None) -> Pool:
        """Return a pool of `positions` (None: all) under their own labels."""
        if positions is None:
            # No copy: labels may be pictures.
            return cls(samples, np.arange(len(samples)), samples.labels)
        return cls(samples, positions, samples.labels[positions])

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.positions)

    def chosen(self, members: NDArray[np.bool_] | slice) -> Pool:
        """Return a pool of some of the samples."""
        return replace(self, positions=self.positions[members], labels=self.labels[members])

    def take(self, members: Positions | slice) -> Batch:
        """Return some of the samples, under the pool's labels."""
        rows = self.samples.take(self.positions[members])
        return replace(rows, labels=self.labels[members])


def endless_batches(
    model: TrainedModel, pools: Sequence[Pool], batch_size: int, seed: int
) -> Iterator[list[Part]]:
    """Yield batches for ever, drawn from all pools together, each sample once before any again.

    Parameters
    ----------
    model : TrainedModel
        Preprocesses the samples.
    pools : sequence of Pool
        With at least one sample in all.
    batch_size : int
        Samples in each batch; a batch spans two shuffles where needed.
    seed : int

    Yields
    ------
    list of (inputs, labels)
        One part for each pool that this batch has samples of, on the model's device.

    Raises
    ------
    ValueError
        There is no sample.
    """
    generator = np.random.default_rng(seed)
    bounds = np.cumsum([0, *(len(pool) for pool in pools)])
    if not bounds[-1]:
        raise ValueError("pools: expected at least one sample")
    # Read many rows at a time: for most formats reading a row costs as much as reading a block.
    most = min(_rows_per_read(pool) for pool in pools if len(pool))
    per_read = max(1, most // batch_size) * batch_size
    waiting = np.zeros(0, dtype=np.int64)
    while True:
        while len(waiting) < per_read:
            waiting = np.concatenate([waiting, generator.permutation(bounds[-1])])
        drawn, waiting = waiting[:per_read], waiting[per_read:]
        blocks = [
            _Block.read(model, pool, drawn, start, stop)
            for pool, start, stop in zip(pools, bounds[:-1], bounds[1:], strict=True)
        ]
        for first in range(0, per_read, batch_size):
            chosen = drawn[first : first + batch_size]
            parts = [block.part(model, chosen) for block in blocks]
            yield [part for part in parts if part is not None]


def _rows_per_read(pool: Pool) -> int:
    """Return how many rows may be in memory as the file has them: fewer of large pictures."""
    samples = pool.samples
    if samples.modality != "image":
        return ROWS_PER_READ
    few = samples.take(pool.positions[spread(len(pool), ROWS_LOOKED_AT)]).frame
    largest = max(_bytes_of(value) for value in few[str(samples.content_column)])
    return int(np.clip(READ_BYTES // max(largest, 1), 1, ROWS_PER_READ))


def _bytes_of(value: Any) -> int:
    content = value.get("bytes") if isinstance(value, dict) else value
    return len(content) if isinstance(content, bytes) else 0


@dataclass(frozen=True)
class _Block:
    """The rows of one pool that the coming batches need."""

    pool: Pool
    start: int
    stop: int
    members: Positions
    rows: Batch | None
    inputs: Inputs | None
    """Of all rows, where they may be made at once."""

    @classmethod
    def read(
        cls, model: TrainedModel, pool: Pool, drawn: Positions, start: int, stop: int
    ) -> _Block:
        members = np.unique(drawn[(drawn >= start) & (drawn < stop)]) - start
        if len(members) == 0:
            return cls(pool, start, stop, members, None, None)
        rows = pool.take(members)
        inputs = _prepared(model, pool.samples, rows)
        return cls(pool, start, stop, members, rows, inputs)

    def part(self, model: TrainedModel, chosen: Positions) -> Part | None:
        wanted = chosen[(chosen >= self.start) & (chosen < self.stop)] - self.start
        if len(wanted) == 0 or self.rows is None:
            return None
        lines = np.searchsorted(self.members, wanted)
        labels = torch.tensor(self.pool.labels[wanted], device=model.device)
        if self.inputs is not None:
            chosen_lines = torch.from_numpy(lines).to(model.device)
            inputs = map_tensors(lambda made: made[chosen_lines], self.inputs)
            if self.pool.samples.kind.written and isinstance(inputs, dict):
                inputs = without_padding(inputs)
            return inputs, labels
        return model.inputs(self.rows.select(lines), self.pool.samples), labels


def _prepared(model: TrainedModel, samples: Samples, rows: Batch) -> Inputs | None:
    """Return the inputs of all rows, where each row's do not depend on the others and they fit.

    To make inputs costs by the call far more than by the row, for tables. Token ids and what else
    is whole numbers, or several tensors, may be as long as the longest row beside them: those are
    made step by step. Pictures with boxes may be wider for those beside them, but say their size;
    answers are padded to the right, which can be taken off again.
    """
    few = rows.select(_longest(samples, rows))
    first = model.inputs(few, samples)
    says_size = samples.kind.own_loss or samples.kind.written
    if not says_size and not (isinstance(first, Tensor) and first.is_floating_point()):
        return None
    size = sum(tensor.nbytes for _, tensor in named_tensors(first))
    if size // len(few) * len(rows) > PREPARED_BYTES:
        return None
    inputs = model.inputs(rows, samples)
    if says_size or (isinstance(inputs, Tensor) and isinstance(first, Tensor)
                     and inputs.shape[1:] == first.shape[1:]):  # fmt: skip
        return inputs
    return None


def _longest(samples: Samples, rows: Batch) -> Positions:
    """Return two rows; where rows are texts of their own lengths, the longest."""
    if not samples.kind.written:
        return np.arange(min(2, len(rows)))
    answers = samples.label_values(rows.labels)
    texts = zip(rows.frame[INSTRUCTION], answers, strict=True)
    lengths = [sum(len(text) for text in pair if isinstance(text, str)) for pair in texts]
    return np.argsort(lengths)[-2:]

"""Query groups: which queries share a perturbed model, and what each step learns of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError
from dataaudit.mirror.finite import Part
from dataaudit.models.trained import TrainedModel


@dataclass(frozen=True)
class QueryGroup:
    """Queries that share one perturbed model: a name, and their positions, int64 `[n]`."""

    name: str
    positions: NDArray[np.int64]


def query_groups(queries: Samples, names: Sequence[Any] | None) -> list[QueryGroup]:
    """Put queries of the same name into one group, in the order of the names' first queries.

    Parameters
    ----------
    queries : Samples
    names : one for each query, or None
        None: each query is a group by itself, named after its id.

    Raises
    ------
    DataError
        There are not as many names as queries, or a name is missing.
    """
    chosen = queries.ids if names is None else pd.Series(list(names), dtype=object).to_numpy()
    if len(chosen) != len(queries):
        raise DataError(
            f"groups: expected one name for each of the {len(queries)} queries, found {len(chosen)}"
        )
    codes, unique = pd.factorize(chosen)
    if (codes < 0).any():
        raise DataError(f"groups: the query at position {int((codes < 0).argmax())} has no group")
    written = [str(name) for name in unique]
    if len(set(written)) < len(written):
        twice = next(name for name in written if written.count(name) > 1)
        raise DataError(
            f"groups: {twice!r} stands for several groups, as a number and as text; expected names "
            "that differ when they are written"
        )
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(unique) + 1))
    return [
        QueryGroup(name, order[start:stop].astype(np.int64))
        for name, start, stop in zip(written, bounds[:-1], bounds[1:], strict=True)
    ]


def drawn(group: QueryGroup, batch_size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield for ever which of a group's queries a step learns, as numbers within the group.

    A group that fits into a batch is learned whole; of a larger one each query is learned once
    before any again. Nothing here depends on the other groups.
    """
    count = len(group.positions)
    if count <= batch_size:
        while True:
            yield np.arange(count)
    generator = np.random.default_rng(seed)
    waiting = np.zeros(0, dtype=np.int64)
    while True:
        while len(waiting) < batch_size:
            waiting = np.concatenate([waiting, generator.permutation(count)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


class QueryReader:
    """The queries of some groups, read once.

    Parameters
    ----------
    model : TrainedModel
        Preprocesses them.
    queries : Samples
    groups : sequence of QueryGroup
    """

    def __init__(self, model: TrainedModel, queries: Samples, groups: Sequence[QueryGroup]) -> None:
        self._model, self._queries = model, queries
        self._positions = np.unique(np.concatenate([group.positions for group in groups]))
        self._rows = queries.take(self._positions)

    def part(self, positions: NDArray[np.int64]) -> Part:
        """Return inputs and labels of some of the queries, on the model's device."""
        batch = self._rows.select(np.searchsorted(self._positions, positions))
        labels = torch.as_tensor(batch.labels, device=self._model.device)
        return self._model.inputs(batch, self._queries), labels

    def steps(self, group: QueryGroup, batch_size: int, seed: int) -> Iterator[list[Part]]:
        """Yield for ever what each step learns of a group."""
        if len(group.positions) <= batch_size:
            whole = [self.part(group.positions)]
            while True:
                yield whole
        for lines in drawn(group, batch_size, seed):
            yield [self.part(group.positions[lines])]

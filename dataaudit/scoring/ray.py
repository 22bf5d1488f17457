"""The Ray engine: workers that hold the models score blocks of rows.

A worker that sees the files is told which rows to read; rows in memory are put into Ray's object
store once, and read there; to others this process sends them. Each preprocesses its block and runs
the forward passes on it. One that sees the run directory writes the block there and says so; from
others it comes back. Blocks are the same as the local engine's, batch by batch, so that the scores
are too. When a worker dies, it costs the blocks it had: a block counts when it has come back, or
lies whole in the run directory.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataaudit.datasets.memory import Pairs
from dataaudit.datasets.samples import Batch, Samples, Source
from dataaudit.errors import DataAuditError, EngineError, ModelError, writing
from dataaudit.models.numerics import EXACT, Numerics
from dataaudit.models.trained import TrainedModel
from dataaudit.progress import count_rows, track
from dataaudit.run_directory.shared import Token
from dataaudit.scoring.blocks import ScoreBlock, ScoreBlocks
from dataaudit.scoring.cluster import Cluster, Crew
from dataaudit.scoring.local import BatchScorer, block_length, joined
from dataaudit.scoring.packing import code_goes_along, packed
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.scoring.stretches import (
    Reader,
    Shares,
    Stretch,
    can_read,
    lies_in_files,
    lies_in_memory,
    sizes_of,
)
from dataaudit.tasks import Task


@dataclass(frozen=True)
class RayEngine:
    """Scores rows in workers on a cluster.

    Attributes
    ----------
    batch_size : int
    cluster : Cluster
        Outside a `with` block of it, workers start for each call and end with it.
    numerics : Numerics
    """

    batch_size: int
    cluster: Cluster
    numerics: Numerics = EXACT

    def score(
        self,
        model: TrainedModel,
        task: Task,
        samples: Samples,
        perturbations: Sequence[Perturbation],
        finished: Collection[int] = (),
        into: ScoreBlocks | None = None,
    ) -> Iterator[ScoreBlock]:
        """Score all rows; blocks come in the order in which they are finished. See `Engine`."""
        batch_size = samples.rows_at_once(self.batch_size)
        length = block_length(batch_size)
        starts = [start for start in range(0, len(samples), length) if start not in finished]
        if not starts:
            return
        device = model.device.type
        held = _packed(model, task, _described(samples), perturbations, self.numerics, into)
        scorer = partial(_Scorer, held, device, batch_size, length)
        with self.cluster as cluster:
            if lies_in_memory(samples.source):
                with code_goes_along([type(getattr(samples.source, "pairs", None))]):
                    scorer = partial(scorer, rows=cluster.stored(samples.source))
            token = None if into is None else _laid(into)
            try:
                sizes = sizes_of(samples.source)
                crew = cluster.crew(scorer, len(starts), token, sizes, on_gpu=device == "cuda")
                blocks = _Blocks(crew, samples, length, starts, token)
                done = track(crew.run(blocks), f"scoring {samples.role}", total=len(starts))
                yield from _sent_back(done, into)
            except DataAuditError:
                raise
            except Exception as error:
                said = " ".join(str(error).split())[:300]
                raise ModelError(
                    f"the model failed in a worker: {type(error).__name__}: {said}"
                ) from None
            finally:
                if token is not None:
                    token.remove()


@dataclass(frozen=True)
class _Sees:
    """What a worker sees: the rows, and the run directory, where it laid an answer to a token."""

    rows: bool
    answer: Path | None


@dataclass(frozen=True)
class _Written:
    """A block that a worker wrote: where it starts, and the rows that it ran through a model."""

    start: int
    rows: int


class _Blocks:
    """The blocks that are left, and what a worker is told of one."""

    def __init__(
        self,
        crew: Crew,
        samples: Samples,
        length: int,
        starts: Sequence[int],
        token: Token | None,
    ) -> None:
        self._crew, self._samples, self._length = crew, samples, length
        self._shares = Shares(starts, len(crew))
        self._reader = Reader(samples.source, length)
        self._token = token
        self._same: dict[Path | None, bool] = {None: False}

    def __len__(self) -> int:
        """Return how many blocks nobody works on."""
        return len(self._shares)

    def next_for(self, worker: int) -> tuple[int, tuple[Batch | Stretch, Token | None]]:
        """Return the start of a block and its rows, or which rows the worker is to read."""
        sees = self._crew.answers[worker]
        start = self._shares.next_for(worker)
        stretch = Stretch.of(self._samples, start, self._length)
        block = stretch if sees.rows else self._reader.read(stretch)
        if sees.answer not in self._same:
            assert self._token is not None
            self._same[sees.answer] = self._token.is_answered(sees.answer)
        return start, (block, self._token if self._same[sees.answer] else None)

    def put_back(self, name: Any) -> None:
        """Put a block back, whose worker has died."""
        self._shares.put_back(name)


def _sent_back(done: Iterator[Any], into: ScoreBlocks | None) -> Iterator[ScoreBlock]:
    """Yield the blocks that came back; make sure that the others are in the run directory."""
    for block in done:
        # The workers are other processes, which count for themselves.
        if isinstance(block, _Written):
            assert into is not None
            if not into.holds(block.start):
                raise EngineError(
                    f"engine: a worker has written the rows from {block.start} on, but they are "
                    f"not in {into.folder}; is it the same folder on every machine, and does it "
                    "stay?"
                )
            count_rows(block.rows)
        else:
            count_rows(block.losses.size)
            yield block


def _laid(into: ScoreBlocks) -> Token:
    with writing(into.folder):
        return Token.lay(into.folder)


def _described(samples: Samples) -> Samples:
    """Return what a worker must know of the samples: all but ids, labels and rows in memory."""
    source = samples.source
    if not lies_in_files(source):
        source = Pairs(source.description, [])
    nothing = slice(0)
    return replace(
        samples, source=source, ids=samples.ids[nothing], labels=samples.labels[nothing], votes=None
    )


def _packed(
    model: TrainedModel,
    task: Task,
    samples: Samples,
    perturbations: Sequence[Perturbation],
    numerics: Numerics,
    into: ScoreBlocks | None,
) -> bytes:
    """Pickle what the workers hold, on the CPU."""
    cpu = torch.device("cpu")
    # Copied, because a module moves in place.
    there = replace(model, module=copy.deepcopy(model.module), estimator=None).to(cpu)
    moved = [_moved(each, cpu) for each in perturbations]
    held = (there, task, samples, moved, numerics, into)
    return packed(held, of=model.module, with_code_of=[model.preprocess])


def _moved(perturbation: Perturbation, device: torch.device) -> Perturbation:
    tensors = {name: value.to(device) for name, value in perturbation.tensors.items()}
    return replace(perturbation, tensors=tensors)


def _fetched(reference: Any, otherwise: Source) -> Source:
    """Return rows out of the object store; something else where this process cannot have them."""
    import ray

    try:
        source: Source = ray.get(reference)
    except Exception:
        # Their class may be one that this machine lacks: then rows are sent.
        return otherwise
    return source


class _Scorer:
    """What a worker holds: models, and how to read the rows."""

    def __init__(
        self,
        held: bytes,
        device: str,
        batch_size: int,
        length: int,
        rows: list[Any] | None = None,
    ) -> None:
        from ray import cloudpickle

        model, task, samples, perturbations, numerics, self._into = cloudpickle.loads(held)
        if rows is not None:
            samples = replace(samples, source=_fetched(rows[0], samples.source))
        there = torch.device(device)
        moved = [_moved(each, there) for each in perturbations]
        self._scorer = BatchScorer(model.to(there), task, samples, moved, numerics)
        self._batch_size = batch_size
        self._samples = samples
        self._reader = Reader(samples.source, length)

    def ready(self, token: Token | None, sizes: Sequence[int]) -> _Sees:
        """Tell what this worker sees; `sizes` are those of the files that it is to see."""
        answer = None if token is None else token.answer()
        return _Sees(can_read(self._samples, sizes), answer)

    def do(self, block: Batch | Stretch, token: Token | None) -> ScoreBlock | _Written:
        """Score the rows of a block, batch by batch as the local engine does.

        The block is written where the token is seen: a worker that took the place of a dead one
        may run on a machine that does not see the run directory.
        """
        rows = self._reader.read(block) if isinstance(block, Stretch) else block
        lines = np.arange(len(rows))
        scored = joined(
            [
                self._scorer.score(rows.select(lines[start : start + self._batch_size]))
                for start in range(0, len(rows), self._batch_size)
            ]
        )
        if token is None or not token.is_here():
            return scored
        self._into.write(scored)
        return _Written(scored.start, scored.losses.size)

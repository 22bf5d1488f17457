"""The Ray engine: actors that hold the models score blocks of rows.

An actor that sees the files is told which rows to read; to others, and where rows are in memory,
this process sends them. Each actor preprocesses its block and runs the forward passes on it. One
that sees the run directory writes the block there and says so; from others it comes back. Blocks
are the same as the local engine's, batch by batch, so that the scores are too. When an actor dies,
or its node, Ray starts another one and gives it the block again: nothing else is lost, because a
block counts when it has come back, or lies whole in the run directory.
"""

from __future__ import annotations

import copy
import os
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from dataaudit.datasets.memory import Pairs
from dataaudit.datasets.samples import Batch, Samples
from dataaudit.errors import ConfigError, DataAuditError, EngineError, ModelError, writing
from dataaudit.models.numerics import EXACT, Numerics
from dataaudit.models.trained import TrainedModel
from dataaudit.progress import count_rows, track
from dataaudit.run_directory.shared import Token
from dataaudit.scoring.blocks import ScoreBlock, ScoreBlocks
from dataaudit.scoring.local import BatchScorer, block_length, joined
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.scoring.stretches import Reader, Shares, Stretch, can_read, lies_in_files
from dataaudit.tasks import Task

BLOCKS_WAITING = 2
"""Blocks handed out for each actor: one that it works on, one that it finds ready after that."""
MOST_DEATHS = 10
"""A block is given up when its workers have died so often; more, and the audit would hang on a
block that no worker has the memory for."""
SECONDS_TO_START = 300
SECONDS_TO_CONNECT = 10

# Read when ray is imported: an audit tells nobody that it runs.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@dataclass(frozen=True)
class RayEngine:
    """Scores rows in `workers` actors.

    Attributes
    ----------
    batch_size : int
    workers : int
        Actors; each takes one CPU core or, where the model is on CUDA, one GPU.
    address : str
        `local` starts Ray on this machine, for this call; `auto` or `host:port` joins a cluster.
        Where this process is connected to Ray already, that connection is used and kept.
    """

    batch_size: int = 256
    workers: int = 2
    address: str = "local"
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
        import ray

        started_here = not ray.is_initialized()
        if started_here:
            _connect(self.address, self.workers)
        try:
            yield from self._score(model, task, samples, perturbations, finished, into)
        finally:
            if started_here:
                ray.shutdown()

    def _score(
        self,
        model: TrainedModel,
        task: Task,
        samples: Samples,
        perturbations: Sequence[Perturbation],
        finished: Collection[int],
        into: ScoreBlocks | None,
    ) -> Iterator[ScoreBlock]:
        import ray

        on_gpu = model.device.type == "cuda"
        packed = _packed(model, task, _described(samples), perturbations, self.numerics, into)
        held = ray.put(packed)
        actor = ray.remote(_Scorer).options(
            num_cpus=1,
            num_gpus=1 if on_gpu else 0,
            max_restarts=-1,
            max_task_retries=MOST_DEATHS,
        )
        device = "cuda" if on_gpu else "cpu"
        length = block_length(self.batch_size)
        starts = [start for start in range(0, len(samples), length) if start not in finished]
        workers = min(self.workers, len(starts))
        actors = [actor.remote(held, device, self.batch_size, length) for _ in range(workers)]
        pool = _Pool(actors, samples, length, starts, into)
        try:
            for _ in track(range(pool.blocks_left), f"scoring {samples.role}"):
                while pool.is_full:
                    yield from pool.finished()
                pool.hand_out()
            while pool.is_busy:
                yield from pool.finished()
        finally:
            pool.close()
            for each in actors:
                ray.kill(each)


@dataclass(frozen=True)
class _Sees:
    """What an actor sees: the rows, and the run directory, where it laid an answer to a token."""

    rows: bool
    answer: Path | None


@dataclass(frozen=True)
class _Written:
    """A block that an actor wrote: where it starts, and the rows that it ran through a model."""

    start: int
    rows: int


class _Pool:
    """Hands blocks to actors that have started, and brings finished ones back."""

    def __init__(
        self,
        actors: Sequence[Any],
        samples: Samples,
        length: int,
        starts: Sequence[int],
        into: ScoreBlocks | None,
    ) -> None:
        self._actors = list(actors)
        self._samples, self._length = samples, length
        self._shares = Shares(starts, len(actors))
        self._reader = Reader(samples.source, length)
        self._idle: list[int] = []
        self._reads: set[int] = set()
        self._writes: set[int] = set()
        self._into = into
        self._token = None if into is None else _token(into)
        self._starting = {
            actor.ready.remote(self._token): place for place, actor in enumerate(actors)
        }
        self._running: dict[Any, int] = {}

    @property
    def blocks_left(self) -> int:
        """How many blocks nobody works on."""
        return len(self._shares)

    @property
    def is_full(self) -> bool:
        """Whether no actor can take another block now."""
        return not self._idle

    @property
    def is_busy(self) -> bool:
        """Whether blocks are still out."""
        return bool(self._running)

    def hand_out(self) -> None:
        """Give a block to an idle actor, or say which rows it is to read."""
        place = self._idle.pop(0)
        start = self._shares.next_for(place)
        stretch = Stretch.of(self._samples, start, self._length)
        block = stretch if place in self._reads else self._reader.read(stretch)
        token = self._token if place in self._writes else None
        self._running[self._actors[place].score.remote(block, token)] = place

    def close(self) -> None:
        """Wait until every actor has started: Ray ends this process when it is left in between."""
        import ray

        if self._token is not None:
            self._token.remove()
        if self._starting:
            waiting = list(self._starting)
            with suppress(ray.exceptions.RayError, ConnectionError):
                ray.wait(waiting, num_returns=len(waiting), timeout=SECONDS_TO_START)
            self._starting.clear()

    def finished(self) -> Iterator[ScoreBlock]:
        """Wait until something happens; yield the block that has come back, if one has."""
        import ray

        patience = None if self._running else SECONDS_TO_START
        waiting = [*self._running, *self._starting]
        done, _ = ray.wait(waiting, num_returns=1, timeout=patience)
        if not done:
            count = len(self._starting)
            self._starting.clear()
            raise EngineError(
                f"engine: none of {count} workers started within {patience} s; the "
                f"cluster offers {_resources(ray.cluster_resources())}, each worker needs 1 CPU, "
                "or 1 GPU where the device is cuda"
            )
        try:
            result = ray.get(done[0])
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, DataAuditError):
                raise error.cause from None
            cause = error.cause if isinstance(error.cause, BaseException) else error
            said = " ".join(str(cause).split())[:300]
            raise ModelError(
                f"the model failed in a worker: {type(cause).__name__}: {said}"
            ) from None
        except ray.exceptions.RayActorError as error:
            raise EngineError(
                f"engine: a worker died {MOST_DEATHS} times on the same block; its last words: "
                f"{' '.join(str(error).split())[:300]}"
            ) from None
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise EngineError(
                f"engine: Ray was lost while rows were scored: {' '.join(str(error).split())[:300]}"
            ) from None
        if done[0] in self._starting:
            self._has_started(self._starting.pop(done[0]), result)
            return
        self._idle.append(self._running.pop(done[0]))
        # The actors are other processes, which count for themselves.
        if isinstance(result, _Written):
            self._refuse_missing(result)
            count_rows(result.rows)
        else:
            count_rows(result.losses.size)
            yield result

    def _has_started(self, place: int, sees: _Sees) -> None:
        self._idle += [place] * BLOCKS_WAITING
        if sees.rows:
            self._reads.add(place)
        if self._token is not None and self._token.is_answered(sees.answer):
            self._writes.add(place)

    def _refuse_missing(self, block: _Written) -> None:
        assert self._into is not None
        if not self._into.holds(block.start):
            raise EngineError(
                f"engine: a worker has written the rows from {block.start} on, but they are not in "
                f"{self._into.folder}; is it the same folder on every machine, and does it stay?"
            )


def _token(into: ScoreBlocks) -> Token:
    with writing(into.folder):
        return Token.lay(into.folder)


def _resources(found: dict[str, float]) -> str:
    return f"{found.get('CPU', 0):.0f} CPUs and {found.get('GPU', 0):.0f} GPUs"


def _connect(address: str, workers: int) -> None:
    import ray

    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address == "local":
        options |= {"num_cpus": workers, "include_dashboard": False}
    try:
        if ":" in address and "://" not in address:
            # Ray itself waits for minutes for a cluster that is not there.
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT).close()
        ray.init(address=address, **options)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        found = " ".join(str(error).split())[:300]
        raise ConfigError(f"engine.address: no Ray cluster at {address!r}: {found}") from None


def _described(samples: Samples) -> Samples:
    """Return what an actor must know of the samples: all but ids, labels and rows in memory."""
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
    """Pickle what the actors hold, on the CPU, with the code of the user's own modules.

    That code lies beside `audit.yaml`, where no other machine looks for it. Both ends of this are
    processes of the same user, so that nothing foreign is unpickled.
    """
    from ray import cloudpickle

    cpu = torch.device("cpu")
    # Copied, because a module moves in place.
    there = replace(model, module=copy.deepcopy(model.module), estimator=None).to(cpu)
    moved = [_moved(each, cpu) for each in perturbations]
    held = (there, task, samples, moved, numerics, into)
    modules = {module for part in _parts_of(model) if (module := _module_of(part)) is not None}
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(held))
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _moved(perturbation: Perturbation, device: torch.device) -> Perturbation:
    tensors = {name: value.to(device) for name, value in perturbation.tensors.items()}
    return replace(perturbation, tensors=tensors)


def _parts_of(model: TrainedModel) -> list[Any]:
    return [model.preprocess, *(type(part) for part in model.module.modules())]


def _module_of(part: Callable[..., Any]) -> ModuleType | None:
    """Return the module that defines a function or class, if it is the user's own file."""
    module = sys.modules.get(getattr(part, "__module__", None) or "")
    file = getattr(module, "__file__", None) or "site-packages"
    package = str(getattr(module, "__name__", "")).partition(".")[0]
    return None if "site-packages" in file or package in ("dataaudit", "torch") else module


class _Scorer:
    """What runs in an actor."""

    def __init__(self, held: bytes, device: str, batch_size: int, length: int) -> None:
        from ray import cloudpickle

        model, task, samples, perturbations, numerics, self._into = cloudpickle.loads(held)
        there = torch.device(device)
        moved = [_moved(each, there) for each in perturbations]
        self._scorer = BatchScorer(model.to(there), task, samples, moved, numerics)
        self._batch_size = batch_size
        self._samples = samples
        self._reader = Reader(samples.source, length)

    def ready(self, token: Token | None) -> _Sees:
        """Return as soon as the actor has started, and tell what it sees."""
        return _Sees(can_read(self._samples), None if token is None else token.answer())

    def score(self, block: Batch | Stretch, token: Token | None) -> ScoreBlock | _Written:
        """Score the rows of a block, batch by batch as the local engine does.

        The block is written where the token is seen: an actor that took the place of a dead one
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

"""Learning in pieces: the gradient of a step in parts, which workers of a cluster may compute.

Weights and optimizer stay in the process that learns. At each step it sends the weights and a share
of the step's queries to each worker, and adds up what comes back. So a worker that dies costs its
share of one step, which another one computes again: there is nothing else to resume.

A step always has the same pieces, and their gradients are always added in the same tree, whoever
computes them. So the number of workers changes nothing, on CPUs of one kind not even the last bit.
It must not: Muon moves the directions of noise as far as all others, so that what begins as
rounding is no longer small after ten steps (docs/measurements/cluster.md).

Whether a step is cut depends on the model alone, not on who is there to compute it: without workers
the pieces are computed one after the other. Small steps would take several times as long in pieces,
and would gain nothing from workers either: they are taken whole.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dataaudit.mirror.finite import FiniteSettings, Part, take_gradient
from dataaudit.models.trained import map_tensors
from dataaudit.progress import LEARNING, count_rows
from dataaudit.scoring.cluster import Cluster, Crew, InOrder
from dataaudit.scoring.packing import packed
from dataaudit.tasks import Task

PIECES = 8
"""Of a step; a power of two. So many workers are used at most."""
CUT_FROM = {"cpu": 2e9, "cuda": 1e13}
CUT_EACH = 1e4
"""A step is cut from so many operations on, and so many for each number that moves: then pieces
take little longer than the whole on a core of a CPU. What is said of GPUs is a guess."""
FLOPS = {"cpu": 2e10, "cuda": 2e13}
BYTES = 5e8
SECONDS_ASKED = 0.05
"""What a core or a GPU computes, and a network moves, in a second, and what it takes to ask workers
at all: rough guesses, by which it is decided where a step takes less time."""
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)

Piece = list[tuple[Part, slice, int, int]]
"""For each part of a step: the rows of it that are meant, their place in it, how many it has in
all, and its seed."""
Sum = tuple[Tensor, NDArray[np.bool_]]
"""A gradient as one vector, and which parameters have one at all."""
Item = TypeVar("Item")


class Learners:
    """The workers of a cluster, as a place to learn; or this process, as if it were all of them.

    Parameters
    ----------
    cluster : Cluster or None
    """

    def __init__(self, cluster: Cluster | None = None) -> None:
        self._cluster = cluster
        self.workers = 0
        """The most that have taken part in a step; 0 where all steps were taken here alone."""

    def gradients(self, module: nn.Module, task: Task, moving: dict[str, nn.Parameter]) -> Spread:
        """Return what computes the gradients of one learning.

        Parameters
        ----------
        module : torch.nn.Module
            As it learns, on the device that workers shall use, too.
        task : Task
        moving : dict of name to Parameter
        """
        return Spread(self, self._cluster, module, task, moving)


class Spread:
    """Computes gradients in pieces: in workers, where that takes less time, else here."""

    def __init__(
        self,
        learners: Learners,
        cluster: Cluster | None,
        module: nn.Module,
        task: Task,
        moving: dict[str, nn.Parameter],
    ) -> None:
        self._learners, self._cluster = learners, cluster
        self._module, self._task, self._moving = module, task, moving
        self._crew: Crew | None = None
        self._here = _Pieces(module, task, list(moving.values()))
        self._rows_apart = rows_apart(module)
        self._cut: bool | None = None
        self._pays = False

    def take(self, parts: Sequence[Part], of: float, seeds: Sequence[int]) -> bool:
        """Leave in `grad` what `take_gradient` does; return False where it should be asked instead.

        That is where what is learned of a row depends on the rows beside it, or where pieces would
        take longer. The first gradient is taken whole, and its operations are counted.
        """
        if not self._rows_apart:
            return False
        if self._cut is None:
            with FlopCounterMode(display=False) as counter:
                take_gradient(self._module, self._task, parts, of, seeds)
            self._decide(counter.get_total_flops())
            return True
        if not self._cut:
            return False
        if self._pays:
            total, used = self._there(_pieces(parts, seeds, apart=True), of)
            count_rows(LEARNING * sum(len(labels) for _, labels in parts))
        else:
            total, used = self._here.sum_of(_pieces(parts, seeds), of)
        for parameter, value, has in zip(
            self._moving.values(), _apart(total, self._moving.values()), used, strict=True
        ):
            parameter.grad = value.to(parameter) if has else None
        return True

    def _decide(self, operations: int) -> None:
        device = next(iter(self._moving.values())).device.type
        numbers = sum(parameter.numel() for parameter in self._moving.values())
        self._cut = is_cut(operations, numbers, device)
        if self._cut and self._cluster is not None:
            cores = torch.get_num_threads() if device == "cpu" else 1
            workers = min(PIECES, self._cluster.workers)
            per_second = FLOPS.get(device, FLOPS["cuda"])
            self._pays = quicker_there(operations, numbers, workers, per_second, cores)

    def _there(self, pieces: list[Piece], of: float) -> Sum:
        """Return the sum of the pieces' gradients, from workers."""
        import ray

        crew = self._begun()
        shares = min(PIECES, 1 << (len(crew) - 1).bit_length())
        each = PIECES // shares
        weights = ray.put(_flat(list(self._moving.values())).cpu().numpy())
        given = [(pieces[first : first + each], of, weights) for first in range(0, PIECES, each)]
        found = dict(crew.run(InOrder(given)))
        self._learners.workers = max(self._learners.workers, len(crew.answers))
        return _in_a_tree(
            lambda number: (torch.tensor(found[number][0]), found[number][1]), range(shares)
        )

    def _begun(self) -> Crew:
        if self._crew is None:
            assert self._cluster is not None
            device = next(iter(self._moving.values())).device.type
            there = copy.deepcopy(self._module).cpu()
            held = packed((there, self._task, list(self._moving)), of=there)
            make = partial(_Learner, held, device)
            self._crew = self._cluster.crew(make, PIECES, on_gpu=device == "cuda")
        return self._crew


def is_cut(operations: float, numbers: int, device: str) -> bool:
    """Tell whether a step is cut into pieces, by who computes it unchanged.

    Parameters
    ----------
    operations : float
        That the step takes.
    numbers : int
        Parameters that move: each piece has a gradient of all of them.
    device : str
        The type of it.
    """
    least = CUT_FROM.get(device, CUT_FROM["cuda"])
    return operations >= max(least, CUT_EACH * numbers)


def quicker_there(
    operations: float, numbers: int, workers: int, per_second: float, cores: int
) -> bool:
    """Tell whether a step takes less time in workers than here, by a rough reckoning.

    Parameters
    ----------
    operations : float
        That a step takes.
    numbers : int
        Parameters that move: they are sent once to each worker, and their gradients come back.
    workers : int
        With a core or a GPU each.
    per_second : float
        Operations of a core, or a GPU.
    cores : int
        Of this process; 1 where it has a GPU.
    """
    moved = 4 * numbers * 2 * workers / BYTES
    there = SECONDS_ASKED + moved + operations / (per_second * workers)
    return there < operations / (per_second * cores)


def rows_apart(module: nn.Module) -> bool:
    """Tell whether what a module makes of a row does not depend on the rows beside it."""
    return all(type(part) in DROPOUTS for part in module.modules() if part.training)


def needs_whole_steps(module: nn.Module, settings: FiniteSettings) -> bool:
    """Tell whether batch norm has a module learn in one process, however many workers there are."""
    kinds = {type(part) for part in module.modules()}
    return settings.batch_norm == "updated" and any(
        issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in kinds
    )


def _pieces(parts: Sequence[Part], seeds: Sequence[int], *, apart: bool = False) -> list[Piece]:
    """Return `PIECES` shares of a step that follow each other; some are empty where rows are few.

    With `apart` they are on the CPU and in memory of their own, so that nothing else is sent.
    """

    def held(tensor: Tensor) -> Tensor:
        return tensor.cpu().clone() if apart else tensor

    found: list[Piece] = [[] for _ in range(PIECES)]
    for (inputs, labels), seed in zip(parts, seeds, strict=True):
        bounds = [len(labels) * number // PIECES for number in range(PIECES + 1)]
        for piece, start, stop in zip(found, bounds[:-1], bounds[1:], strict=True):
            if start < stop:
                rows = slice(start, stop)
                some = map_tensors(lambda tensor: held(tensor[rows]), inputs)  # noqa: B023
                piece.append(((some, held(labels[rows])), rows, len(labels), seed))
    return found


def _in_a_tree(find: Callable[[Item], Sum], items: Sequence[Item]) -> Sum:
    """Add up what is found for each item: the sum of the first half, plus that of the second.

    So the sum of sums of neighbours is the same, to the bit, as the sum of all.
    """
    if len(items) == 1:
        return find(items[0])
    middle = len(items) // 2
    first, second = _in_a_tree(find, items[:middle]), _in_a_tree(find, items[middle:])
    return first[0] + second[0], first[1] | second[1]


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return all values as one vector, in float64 where one is that, else in float32."""
    joined = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    return joined if joined.dtype == torch.float64 else joined.float()


def _apart(values: Tensor, like: Any) -> list[Tensor]:
    """Return a vector as tensors of the shapes of others."""
    shapes = [tensor.shape for tensor in like]
    split = torch.split(values, [shape.numel() for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(split, shapes, strict=True)]


class _Learner:
    """What a worker holds: the module, in the state that it was in at the last step."""

    def __init__(self, held: bytes, device: str) -> None:
        from ray import cloudpickle

        module, task, names = cloudpickle.loads(held)
        parameters = dict(module.to(device).named_parameters())
        self._moving = [parameters[name] for name in names]
        self._pieces = _Pieces(module, task, self._moving)

    def ready(self) -> None:
        """There is nothing to tell."""

    def do(
        self, number: int, pieces: list[Piece], of: float, weights: NDArray[Any]
    ) -> tuple[int, tuple[NDArray[Any], NDArray[np.bool_]]]:
        """Return the number of a share, and the sum of the gradients of its pieces."""
        with torch.no_grad():
            # Copied: what lies in the object store cannot be written to.
            values = _apart(torch.from_numpy(np.array(weights)), self._moving)
            for parameter, value in zip(self._moving, values, strict=True):
                parameter.copy_(value)
        total, used = self._pieces.sum_of(pieces, of)
        return number, (total.cpu().numpy(), used)


class _Pieces:
    """Takes the gradients of pieces, one after the other."""

    def __init__(self, module: nn.Module, task: Task, moving: list[nn.Parameter]) -> None:
        self._module, self._task, self._moving = module, task, moving

    def sum_of(self, pieces: Sequence[Piece], of: float) -> Sum:
        """Return the sum of their gradients, each divided by `of`, on the module's device."""
        return _in_a_tree(lambda piece: self._gradient(piece, of), pieces)

    def _gradient(self, piece: Piece, of: float) -> Sum:
        device = self._moving[0].device
        self._module.zero_grad(set_to_none=True)
        for (inputs, labels), rows, whole, seed in piece:
            moved = map_tensors(lambda tensor: tensor.to(device), inputs)
            with dropping(self._module, rows, whole):
                part = moved, labels.to(device)
                take_gradient(self._module, self._task, [part], of, [seed])
        found = [parameter.grad for parameter in self._moving]
        used = np.array([gradient is not None for gradient in found])
        filled = [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(self._moving, found, strict=True)
        ]
        return _flat(filled), used


@contextmanager
def dropping(module: nn.Module, rows: slice, whole: int) -> Iterator[None]:
    """Let dropout drop of some rows what it would drop of them among all rows of a part.

    Parameters
    ----------
    module : torch.nn.Module
    rows : slice
        Those that it is run on inside the `with` block.
    whole : int
        How many the part has.
    """
    dropouts = [part for part in module.modules() if part.training]
    for part in dropouts:
        part.forward = partial(_dropped, part, rows, whole)
    try:
        yield
    finally:
        for part in dropouts:
            del part.forward


def _dropped(dropout: nn.Module, rows: slice, whole: int, values: Tensor) -> Tensor:
    """Drop what dropout on the whole part would drop of these rows, from the same seed."""
    each, rest = divmod(len(values), rows.stop - rows.start)
    if rest:
        # Rows do not come first here: what is dropped depends on the piece alone all the same.
        found: Tensor = type(dropout).forward(dropout, values)
        return found
    every = values.new_ones((whole * each, *values.shape[1:]))
    kept: Tensor = type(dropout).forward(dropout, every)
    return values * kept[rows.start * each : rows.stop * each]

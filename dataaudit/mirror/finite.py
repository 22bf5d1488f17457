"""The finite mirror: train a copy of the model on the queries for some optimizer steps.

The Mirrored Influence Hypothesis (Ko et al., CVPR 2024, arXiv 2402.08922) swaps the roles of
training row and query: the change of a row's loss after the model has learned (or unlearned) a
query mirrors the influence that the row had on the query. This module takes the steps; the
rows' losses need forward passes only (`dataaudit.engines`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dataaudit.mirror.perturbation import Perturbation
from dataaudit.models.trained import Inputs, forward, map_tensors
from dataaudit.progress import track
from dataaudit.tasks import Classification

Direction = Literal["learn", "unlearn"]
Parameters = Literal["all", "last"]


@dataclass(frozen=True)
class FiniteSettings:
    """How the steps are taken.

    Attributes
    ----------
    direction : "learn" or "unlearn"
        Descend or ascend the queries' mean loss.
    steps : int
        Optimizer steps.
    learning_rate : float
    batch_size : int
        Queries in each step, drawn without replacement from a shuffled deck.
    optimizer : "adam" or "sgd"
    parameters : "all" or "last"
        Which parameters move; those that do not require gradients never do.
    batch_norm : "frozen" or "updated"
        Whether batch norm uses (and keeps) its running statistics while stepping.
    dropout : bool
        Whether dropout is active while stepping.
    largest_change : float or None
        Bound on the distance from the trained parameters, relative to their norm; parameters
        that would go further are pulled back onto that sphere after each step.
    checkpoints : int
        How many evenly spaced parameter values are kept, the last step included.
    checkpoints_from : float
        The first checkpoint stands after this share of the steps, 0 to 1.
    seed : int
        Of the order of the queries, and of dropout.
    """

    direction: Direction = "learn"
    steps: int = 100
    learning_rate: float = 2e-3
    batch_size: int = 64
    optimizer: Literal["adam", "sgd"] = "adam"
    parameters: Parameters = "all"
    batch_norm: Literal["frozen", "updated"] = "frozen"
    dropout: bool = False
    largest_change: float | None = None
    checkpoints: int = 1
    checkpoints_from: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class MirrorCheckpoint:
    """The model after some steps.

    Attributes
    ----------
    step : int
    perturbation : Perturbation
        The parameters that moved (and buffers, where batch norm was updated).
    """

    step: int
    perturbation: Perturbation


def finite_mirror(
    module: nn.Module,
    task: Classification,
    inputs: Inputs,
    labels: Tensor,
    settings: FiniteSettings,
    augment: Callable[[Inputs, torch.Generator], Inputs] | None = None,
) -> Iterator[MirrorCheckpoint]:
    """Learn or unlearn a query group, yielding the checkpoints in order.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode; it is copied, never changed.
    task : Classification
    inputs : tensor, tuple or dict of tensors
        `[queries, ...]`, on the module's device.
    labels : Tensor
        `[queries]`.
    settings : FiniteSettings
    augment : callable or None
        Changes each drawn batch of inputs, for example flips images.

    Yields
    ------
    MirrorCheckpoint
        The caller may stop early; nothing is computed past the last one taken.
    """
    perturbed = copy.deepcopy(module)
    moving = moving_parameters(perturbed, settings.parameters)
    start = {name: parameter.detach().clone() for name, parameter in moving.items()}
    _set_modes(perturbed, settings)
    for name, parameter in perturbed.named_parameters():
        parameter.requires_grad_(name in moving)
    optimizer = _optimizer(moving, settings)
    generator = torch.Generator().manual_seed(settings.seed)
    deck = _deck(len(labels), settings.batch_size, generator)
    sign = 1.0 if settings.direction == "learn" else -1.0
    kept = checkpoint_steps(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        for step in track(range(1, settings.steps + 1), f"{settings.direction}ing the queries"):
            chosen = next(deck).to(labels.device)
            drawn = map_tensors(lambda tensor: tensor[chosen], inputs)  # noqa: B023
            if augment is not None:
                drawn = augment(drawn, generator)
            with torch.enable_grad():
                loss = task.losses(forward(perturbed, drawn), labels[chosen]).mean()
                optimizer.zero_grad(set_to_none=True)
                (sign * loss).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if settings.largest_change is not None:
                _pull_back(moving, start, settings.largest_change)
            if step in kept:
                yield MirrorCheckpoint(step, _difference(module, perturbed, moving))


def checkpoint_steps(settings: FiniteSettings) -> list[int]:
    """Return the steps after which a checkpoint is kept, ascending, the last step included."""
    first = max(1, round(settings.steps * settings.checkpoints_from))
    count = min(settings.checkpoints, settings.steps - first + 1)
    if count == 1:
        return [settings.steps]
    span = settings.steps - first
    return [first + round(span * index / (count - 1)) for index in range(count)]


def moving_parameters(module: nn.Module, choice: Parameters) -> dict[str, nn.Parameter]:
    """Return the parameters that a mirror moves: floating, and trainable in the user's model."""
    trainable = {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and parameter.is_floating_point()
    }
    if choice == "all":
        return trainable
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    prefix = f"{linear[-1]}." if linear and linear[-1] else ""
    return {name: value for name, value in trainable.items() if name.startswith(prefix)}


def _set_modes(module: nn.Module, settings: FiniteSettings) -> None:
    module.eval()
    for part in module.modules():
        is_batch_norm = isinstance(part, nn.modules.batchnorm._BatchNorm)
        is_dropout = isinstance(part, nn.modules.dropout._DropoutNd)
        if (is_batch_norm and settings.batch_norm == "updated") or (
            is_dropout and settings.dropout
        ):
            part.train()


def _optimizer(
    moving: dict[str, nn.Parameter], settings: FiniteSettings
) -> torch.optim.Optimizer:
    parameters = list(moving.values())
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=settings.learning_rate)
    return torch.optim.Adam(parameters, lr=settings.learning_rate)


def _deck(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    # A batch spans two shuffles where needed, so that every batch has the same size.
    size = min(batch_size, count)
    waiting = torch.zeros(0, dtype=torch.int64)
    while True:
        while len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(count, generator=generator)])
        yield waiting[:size]
        waiting = waiting[size:]


@torch.no_grad()
def _pull_back(
    moving: dict[str, nn.Parameter], start: dict[str, Tensor], largest_change: float
) -> None:
    distance = torch.sqrt(sum(((moving[n] - start[n]).square().sum() for n in moving)))  # type: ignore[call-overload]
    length = torch.sqrt(sum((start[n].square().sum() for n in moving)))  # type: ignore[call-overload]
    allowed = largest_change * length
    if distance > allowed:
        for name, parameter in moving.items():
            parameter.copy_(start[name] + (parameter - start[name]) * (allowed / distance))


def _difference(
    module: nn.Module, perturbed: nn.Module, moving: dict[str, nn.Parameter]
) -> Perturbation:
    tensors = {name: parameter.detach().clone() for name, parameter in moving.items()}
    before = dict(module.named_buffers())
    for name, buffer in perturbed.named_buffers():
        if not torch.equal(buffer, before[name]):
            tensors[name] = buffer.detach().clone()
    return Perturbation(tensors)

"""The finite mirror: train a copy of the model on the queries for some optimizer steps.

The Mirrored Influence Hypothesis (Ko et al., CVPR 2024, arXiv 2402.08922) swaps the roles of
training row and query: the change of a row's loss after the model has learned (or unlearned) a
query mirrors the influence that the row had on the query. This module takes the steps; the
rows' losses need forward passes only (`dataaudit.scoring`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dataaudit.mirror.muon import Muon, hidden_matrices
from dataaudit.models.parameters import Parameters, moving_parameters
from dataaudit.models.trained import Inputs, forward, named_tensors
from dataaudit.progress import track
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.tasks import Task

Direction = Literal["learn", "unlearn"]
Part = tuple[Inputs, Tensor]
"""Inputs and labels of some queries."""
MUON_RATE = 5.0
"""Muon's rate is the size of a step along each direction, Adam's along each number."""


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
        The largest one, where there is a schedule.
    optimizer : "adamw", "muon" or "sgd"
        Adam with decoupled weight decay of .01; the same, but for hidden matrices and
        convolutions, which Muon moves at `MUON_RATE` times the rate; or plain gradient descent.
    schedule : "constant" or "one cycle"
        One cycle warms up for a quarter of the steps and then cools down to nearly nothing
        (Smith and Topin, 2018).
    average : float
        Decay of the running mean of parameters and buffers that becomes the perturbed model,
        0 to 1; 0 takes the last step's.
    parameters : "all", "last", "adapters" or patterns
        Which parameters move, see `moving_parameters`; those that do not require gradients never
        do.
    batch_norm : "frozen" or "updated"
        Whether batch norm uses (and keeps) its running statistics while stepping.
    dropout : bool
        Whether dropout is active while stepping.
    check_every : int
        Steps between two questions whether to stop, where somebody asks.
    seed : int
        Of dropout, which each step begins anew.
    """

    direction: Direction = "learn"
    steps: int = 1
    learning_rate: float = 1e-3
    optimizer: Literal["adamw", "muon", "sgd"] = "adamw"
    schedule: Literal["constant", "one cycle"] = "constant"
    average: float = 0.0
    parameters: Parameters = "all"
    batch_norm: Literal["frozen", "updated"] = "frozen"
    dropout: bool = False
    check_every: int = 1
    seed: int = 0


class Gradients(Protocol):
    """What computes the gradients of one learning somewhere else."""

    def take(self, parts: Sequence[Part], of: float, seeds: Sequence[int]) -> bool:
        """Do what `take_gradient` does; or return False, where that should be asked instead."""
        ...


class Elsewhere(Protocol):
    """Where gradients are computed that are not computed here."""

    def gradients(
        self, module: nn.Module, task: Task, moving: dict[str, nn.Parameter]
    ) -> Gradients:
        """Return what computes those of a module that is about to learn."""
        ...


def finite_mirror(
    module: nn.Module,
    task: Task,
    batches: Iterator[Sequence[Part]],
    settings: FiniteSettings,
    start: Perturbation = UNPERTURBED,
    until: Callable[[nn.Module], bool] | None = None,
    shown: bool = True,
    elsewhere: Elsewhere | None = None,
) -> Perturbation:
    """Learn or unlearn a query group.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode; it is copied, never changed.
    task : Task
    batches : iterator
        One item for each step: the queries of that step, in one or more parts, on the module's
        device. Every query weighs the same, whatever part it stands in.
    settings : FiniteSettings
    start : Perturbation
        Where the steps start from, if not from the model itself.
    until : callable or None
        Asked every `settings.check_every` steps, with the perturbed model in eval mode, whether
        to stop there.
    shown : bool
        Whether a progress bar is shown.
    elsewhere : Elsewhere or None
        Where gradients are computed; None: here.

    Returns
    -------
    Perturbation
        Of the model itself: the parameters that moved, and the buffers that changed.
    """
    perturbed = start.copy_of(module)
    moving = moving_parameters(perturbed, settings.parameters)
    _set_modes(perturbed, settings)
    for name, parameter in perturbed.named_parameters():
        parameter.requires_grad_(name in moving)
    optimizers = _optimizers(perturbed, moving, settings)
    schedulers = _schedulers(optimizers, settings)
    sign = 1.0 if settings.direction == "learn" else -1.0
    mean = _RunningMean(perturbed, moving, settings.average)
    gradients = None if elsewhere is None else elsewhere.gradients(perturbed, task, moving)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        steps: Iterable[int] = range(settings.steps)
        for step in track(steps, f"{settings.direction}ing the queries") if shown else steps:
            parts = _joined(next(batches))
            seeds = [_seed_of(settings.seed, step, place) for place in range(len(parts))]
            of = sign * sum(len(labels) for _, labels in parts)
            perturbed.zero_grad(set_to_none=True)
            if gradients is None or not gradients.take(parts, of, seeds):
                take_gradient(perturbed, task, parts, of, seeds)
            for optimizer in optimizers:
                optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
            mean.update(step)
            if until is not None and (step + 1) % settings.check_every == 0:
                perturbed.eval()
                if until(perturbed):
                    break
                _set_modes(perturbed, settings)
    return mean.difference_from(module)


def take_gradient(
    module: nn.Module, task: Task, parts: Sequence[Part], of: float, seeds: Sequence[int]
) -> None:
    """Add to `grad` the gradient of the sum of losses, divided by `of`.

    Parameters
    ----------
    module : torch.nn.Module
    task : Task
    parts : sequence of (inputs, labels)
    of : float
        The number of queries of the step, negative where they are unlearned.
    seeds : sequence of int
        Of dropout, one for each part.
    """
    losses = []
    with torch.enable_grad():
        for (inputs, labels), seed in zip(parts, seeds, strict=True):
            _seed_dropout(seed, labels.device)
            losses.append(task.losses(forward(module, inputs), labels).sum())
        (torch.stack(losses).sum() / of).backward()  # type: ignore[no-untyped-call]


def _seed_dropout(seed: int, device: torch.device) -> None:
    # Without a device torch.manual_seed notes who called it, which is half the time of a step.
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _seed_of(seed: int, step: int, place: int) -> int:
    return int(np.random.SeedSequence((seed, step, place)).generate_state(1)[0])


def _joined(parts: Sequence[Part]) -> Sequence[Part]:
    """Join parts whose inputs have the same shapes, so that batch norm sees them as one batch."""
    if len(parts) == 1:
        return parts
    named = [dict(named_tensors(inputs)) for inputs, _ in parts]
    shapes = [{name: tensor.shape[1:] for name, tensor in part.items()} for part in named]
    if any(shape != shapes[0] for shape in shapes):
        return parts
    labels = torch.cat([part_labels for _, part_labels in parts])
    first = parts[0][0]
    tensors = {name: torch.cat([part[name] for part in named]) for name in named[0]}
    if isinstance(first, dict):
        return [(tensors, labels)]
    values = tuple(tensors.values())
    return [(values if isinstance(first, tuple) else values[0], labels)]


def _set_modes(module: nn.Module, settings: FiniteSettings) -> None:
    module.eval()
    for part in module.modules():
        is_batch_norm = isinstance(part, nn.modules.batchnorm._BatchNorm)
        is_dropout = isinstance(part, nn.modules.dropout._DropoutNd)
        if (is_batch_norm and settings.batch_norm == "updated") or (
            is_dropout and settings.dropout
        ):
            part.train()


def make_optimizer(parameters: Sequence[Tensor], settings: FiniteSettings) -> torch.optim.Optimizer:
    """Return the optimizer that the settings name."""
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=settings.learning_rate)
    return torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.01)


def _optimizers(
    module: nn.Module, moving: dict[str, nn.Parameter], settings: FiniteSettings
) -> list[torch.optim.Optimizer]:
    matrices = hidden_matrices(module, moving) if settings.optimizer == "muon" else []
    if not matrices:
        return [make_optimizer(list(moving.values()), settings)]
    theirs = {id(matrix) for matrix in matrices}
    others = [value for value in moving.values() if id(value) not in theirs]
    return [
        Muon(matrices, lr=MUON_RATE * settings.learning_rate),
        make_optimizer(others, settings),
    ]


def _schedulers(
    optimizers: Sequence[torch.optim.Optimizer], settings: FiniteSettings
) -> list[torch.optim.lr_scheduler.OneCycleLR]:
    # Of a single step, one cycle is nothing but its end, where hardly anything moves.
    if settings.schedule == "constant" or settings.steps == 1:
        return []
    return [
        torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            optimizer.defaults["lr"],
            total_steps=settings.steps,
            # A warm-up of exactly one step makes torch divide by zero.
            pct_start=0.3 if settings.steps == 4 else 0.25,
            final_div_factor=100,
            cycle_momentum=not isinstance(optimizer, Muon),
        )
        for optimizer in optimizers
    ]


class _RunningMean:
    """The exponential mean of what moves, over the steps."""

    def __init__(self, module: nn.Module, moving: dict[str, nn.Parameter], decay: float) -> None:
        buffers = {
            name: buffer for name, buffer in module.named_buffers() if buffer.is_floating_point()
        }
        self._current: dict[str, Tensor] = {**moving, **buffers}
        self._moving = set(moving)
        self._decay = decay
        self._mean = {name: value.detach().clone() for name, value in self._current.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        # Early on the mean follows closely, so that the start does not linger in it.
        decay = min(self._decay, (step + 1) / (step + 10))
        for name, value in self._current.items():
            self._mean[name].lerp_(value.detach(), 1 - decay)

    def difference_from(self, module: nn.Module) -> Perturbation:
        before = dict(module.named_buffers())
        return Perturbation(
            {
                name: value
                for name, value in self._mean.items()
                if name in self._moving or not torch.equal(value, before[name])
            }
        )

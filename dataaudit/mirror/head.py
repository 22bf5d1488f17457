"""The head mirror: only the last layers move, and what enters them is computed once for a row.

Everything before the tail is the same for the trained model and for every group's. One forward
pass through the model catches the tail's inputs, the features; where the tail is one linear
layer, all groups together then cost a matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dataaudit.errors import ModelError
from dataaudit.mirror.finite import FiniteSettings, make_optimizer
from dataaudit.mirror.mirrored import FiniteGroups
from dataaudit.mirror.perturbation import Perturbation
from dataaudit.models.numerics import EXACT, Numerics
from dataaudit.models.trained import Inputs, forward
from dataaudit.tasks import Classification, Task

VALUES_AT_ONCE = 1 << 20
"""Outputs computed together: a few MiB, which stay in the processor's cache."""
ROWS_AT_ONCE = 256
LARGEST_EXPONENT = 80.0
"""Its exponential, and a sum of such ones, is finite in float32."""
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Tail:
    """The last layers of a model: a module whose output is the model's output.

    Attributes
    ----------
    module : torch.nn.Module
        The whole model.
    layers : torch.nn.Module
        The last layers, part of it.
    name : str
        Of the last layers in the model.
    """

    module: nn.Module
    layers: nn.Module
    name: str

    def run(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Run the whole model; return the tail's inputs (features), and the outputs.

        Raises
        ------
        ModelError
            The last layers were not called exactly once with one tensor.
        """
        with _caught_inputs(self.layers) as caught:
            outputs = forward(self.module, inputs)
        if len(caught) != 1 or len(caught[0]) != 1 or not isinstance(caught[0][0], Tensor):
            raise ModelError(
                f"mirror.kind: head: {self.name} was called {len(caught)} times in one forward "
                "pass; expected once, with one tensor; use finite"
            )
        return caught[0][0], outputs


@contextmanager
def _caught_inputs(layers: nn.Module) -> Iterator[list[tuple[Any, ...]]]:
    caught: list[tuple[Any, ...]] = []
    handle = layers.register_forward_pre_hook(lambda part, arguments: caught.append(arguments))
    try:
        yield caught
    finally:
        handle.remove()


@torch.no_grad()
def find_tail(module: nn.Module, inputs: Inputs, name: str | None = None) -> Tail:
    """Find the last layers of a model, and check that nothing comes after them.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode.
    inputs : Inputs
        Some rows to check on.
    name : str or None
        The last layers' name in the model, for example `classifier`; None takes the last linear
        layer.

    Raises
    ------
    ModelError
        There is no such part, or its output is not the model's.
    """
    if name is None:
        linear = [key for key, part in module.named_modules() if isinstance(part, nn.Linear)]
        if not linear:
            raise ModelError("mirror.kind: head needs a linear layer; the model has none")
        name = linear[-1]
    parts = dict(module.named_modules())
    if name not in parts:
        raise ModelError(
            f"mirror.layers: the model has no part called {name}; it has "
            f"{', '.join(key for key, _ in module.named_children())}"
        )
    tail = Tail(module, parts[name], name)
    features, outputs = tail.run(inputs)
    again = tail.layers(features)
    same = (
        isinstance(again, Tensor)
        and again.numel() == outputs.numel()
        and len(features) == len(outputs)
        and torch.allclose(again.reshape(outputs.shape), outputs, rtol=TOLERANCE, atol=TOLERANCE)
    )
    if not same:
        raise ModelError(
            f"mirror.kind: head: the output of {name or 'the last linear layer'} is not the "
            "model's output, something comes after it; name the last layers with mirror.layers, "
            "or use finite"
        )
    return tail


@dataclass(frozen=True)
class Heads:
    """One linear layer for each of some groups: weights `[groups, C, width]`, biases `[groups, C]`.

    Biases are None where the trained layer has none.
    """

    weights: Tensor
    biases: Tensor | None


def learned_heads(
    layer: nn.Linear,
    task: Task,
    features: Tensor,
    labels: Tensor,
    drawn: Iterator[Sequence[Tensor]],
    groups: int,
    settings: FiniteSettings,
) -> Heads:
    """Learn (or unlearn) all groups at once, each with a last layer of its own.

    The layers are stacked; their losses share no parameter, and neither optimizer mixes elements,
    so that each comes out as if it had learned alone.

    Parameters
    ----------
    layer : torch.nn.Linear
        The trained one.
    task : Task
    features : `[queries, width]`
    labels : `[queries, ...]`
        As the task takes them.
    drawn : iterator
        For each step, the lines of `features` that each group learns, one tensor a group.
    groups : int
    settings : FiniteSettings
        Its direction, steps, learning rate and optimizer are used.
    """
    weights = layer.weight.detach().repeat(groups, 1, 1).requires_grad_(layer.weight.requires_grad)
    moving = [weights] if layer.weight.requires_grad else []
    biases = None
    if layer.bias is not None:
        biases = layer.bias.detach().repeat(groups, 1).requires_grad_(layer.bias.requires_grad)
        moving += [biases] if layer.bias.requires_grad else []
    optimizer = make_optimizer(moving, settings)
    sign = 1.0 if settings.direction == "learn" else -1.0
    for _ in range(settings.steps):
        lines = next(drawn)
        longest = max(len(chosen) for chosen in lines)
        # Short groups are filled up with their first query, at no weight.
        padded = torch.stack(
            [torch.cat([chosen, chosen[:1].expand(longest - len(chosen))]) for chosen in lines]
        )
        counts = torch.tensor([len(chosen) for chosen in lines], device=features.device)
        weight = (torch.arange(longest, device=features.device) < counts[:, None]) / counts[:, None]
        with torch.enable_grad():
            outputs = features[padded] @ weights.transpose(1, 2)
            if biases is not None:
                outputs = outputs + biases[:, None]
            losses = task.losses(outputs.flatten(0, 1), labels[padded].flatten(0, 1))
            optimizer.zero_grad(set_to_none=True)
            (sign * (losses.view(groups, longest) * weight).sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Heads(weights.detach(), None if biases is None else biases.detach())


class HeadGroups:
    """Groups that differ in their last linear layer; see `Mirrored`.

    Parameters
    ----------
    tail : Tail
        One linear layer.
    task : Task
    heads : Heads
    numerics : Numerics
    """

    def __init__(self, tail: Tail, task: Task, heads: Heads, numerics: Numerics = EXACT) -> None:
        self._tail, self._task, self._numerics = tail, task, numerics
        at_once = max(1, VALUES_AT_ONCE // (ROWS_AT_ONCE * heads.weights.shape[1]))
        biases = heads.biases
        if biases is None:
            biases = heads.weights.new_zeros(heads.weights.shape[:2])
        # Classes before groups, so that the sum over classes runs over whole lines of groups.
        self._layers = [
            (part.permute(2, 1, 0).flatten(1).contiguous(), bias.T.flatten())
            for part, bias in zip(
                torch.split(heads.weights, at_once), torch.split(biases, at_once), strict=True
            )
        ]
        self._classes = heads.weights.shape[1]

    @torch.inference_mode()
    def changes(
        self, inputs: Inputs, labels: Tensor, losses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one forward pass for all groups; see `Mirrored`."""
        with self._numerics.autocast(labels.device):
            features, outputs = self._tail.run(inputs)
        found = self._task.losses(outputs.double(), labels)
        features = features.to(self._layers[0][0].dtype)
        parts = [
            self._losses(torch.addmm(bias, features, weights), labels, outputs.shape[1:])
            for weights, bias in self._layers
        ]
        return found, torch.cat(parts, dim=1).double() - found[:, None]

    def _losses(self, outputs: Tensor, labels: Tensor, shape: torch.Size) -> Tensor:
        """Return `[rows, groups]` of `[rows, classes × groups]`, which is overwritten."""
        outputs = outputs.view(len(outputs), self._classes, -1)
        if isinstance(self._task, Classification) and self._task.outputs == "logits":
            return _cross_entropy(outputs, labels)
        groups = outputs.shape[2]
        rows = outputs.transpose(1, 2).flatten(0, 1).reshape(-1, *shape)
        losses = self._task.losses(rows.double(), labels.repeat_interleave(groups, dim=0))
        return losses.view(-1, groups)


def _cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return `[rows, groups]` of `[rows, classes, groups]`, overwriting it.

    Ten times faster than log_softmax over a short last dimension, and in float32 exact to its
    last digits for small losses too: the logarithm of 1 + the odds of the other classes.
    """
    place = labels[:, None, None].expand(-1, 1, outputs.shape[2])
    outputs -= outputs.gather(1, place)
    outputs.scatter_(1, place, -torch.inf)
    if outputs.max() < LARGEST_EXPONENT:
        return outputs.exp_().sum(dim=1).log1p_()
    return functional.softplus(torch.logsumexp(outputs, dim=1), threshold=40)


class FirstOrderHeadGroups:
    """The closed first-order change by one gradient step of the last linear layer; see `Mirrored`.

    The gradient of a loss by weights and biases of the last layer is residual ⊗ [feature, 1],
    where the residual is the derivative by the outputs (for cross-entropy: probabilities minus
    the one-hot label). A row's change is therefore minus the learning rate times the mean over
    queries of (row residual · query residual) × (row feature · query feature + 1).

    Parameters
    ----------
    tail : Tail
        One linear layer.
    task : Task
    features : `[queries, width]`
    residuals : `[queries, C]`
    groups : sequence of int64 tensors
        The lines of each group's queries.
    settings : FiniteSettings
        Its direction and learning rate are used.
    numerics : Numerics
    """

    def __init__(
        self,
        tail: Tail,
        task: Task,
        features: Tensor,
        residuals: Tensor,
        groups: Sequence[Tensor],
        settings: FiniteSettings,
        numerics: Numerics = EXACT,
    ) -> None:
        self._tail, self._task, self._numerics = tail, task, numerics
        self._lines = torch.cat(list(groups))
        self._owners = torch.repeat_interleave(
            torch.arange(len(groups), device=features.device),
            torch.tensor([len(lines) for lines in groups], device=features.device),
        )
        rate = settings.learning_rate * (-1 if settings.direction == "learn" else 1)
        counts = torch.bincount(self._owners)
        self._features = features[self._lines].T.contiguous()
        shares = rate / counts[self._owners]
        self._residuals = (residuals[self._lines] * shares[:, None]).T.to(features).contiguous()
        self._groups = len(groups)
        layer = tail.layers
        assert isinstance(layer, nn.Linear)
        self._moves = (
            float(layer.weight.requires_grad),
            float(layer.bias is not None and layer.bias.requires_grad),
        )

    @torch.no_grad()
    def changes(
        self, inputs: Inputs, labels: Tensor, losses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one forward pass for all groups; see `Mirrored`."""
        with self._numerics.autocast(labels.device):
            features, outputs = self._tail.run(inputs)
        found, residuals = losses_and_residuals(self._task, outputs, labels)
        weight, bias = self._moves
        pairs = features.to(self._features) @ self._features * weight + bias
        pairs *= residuals.to(self._residuals) @ self._residuals
        if self._groups == pairs.shape[1]:
            return found, pairs
        total = pairs.new_zeros(len(pairs), self._groups)
        return found, total.index_add_(1, self._owners, pairs)


def losses_and_residuals(task: Task, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the losses `[rows]` and their derivatives by the outputs, `[rows, C]`, double."""
    with torch.enable_grad():
        values = outputs.detach().double().requires_grad_()
        losses = task.losses(values, labels)
        (residuals,) = torch.autograd.grad(losses.sum(), [values])
    return losses.detach(), residuals.flatten(1) if residuals.ndim > 1 else residuals[:, None]


class TailGroups:
    """Groups that differ in the last layers, whatever those are; see `Mirrored`.

    Parameters
    ----------
    tail : Tail
    task : Task
    perturbations : sequence of Perturbation
        Of the last layers.
    numerics : Numerics
    """

    def __init__(
        self,
        tail: Tail,
        task: Task,
        perturbations: Sequence[Perturbation],
        numerics: Numerics = EXACT,
    ) -> None:
        self._tail, self._task, self._numerics = tail, task, numerics
        self._groups = FiniteGroups(tail.layers, task, perturbations)

    @torch.inference_mode()
    def changes(
        self, inputs: Inputs, labels: Tensor, losses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one forward pass, then the last layers for each group; see `Mirrored`."""
        with self._numerics.autocast(labels.device):
            features, _ = self._tail.run(inputs)
        if features.dtype == torch.bfloat16:
            features = features.float()
        return self._groups.changes(features, labels)

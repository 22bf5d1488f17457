"""The head mirror: only the last linear layer moves, and all groups cost a matrix product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dataaudit.mirror.finite import FiniteSettings, make_optimizer
from dataaudit.models.numerics import EXACT, Numerics
from dataaudit.models.tail import Tail
from dataaudit.models.trained import Inputs
from dataaudit.tasks import Classification, Task

VALUES_AT_ONCE = 1 << 20
"""Outputs computed together: a few MiB, which stay in the processor's cache."""
ROWS_AT_ONCE = 256
LARGEST_EXPONENT = 80.0
"""Its exponential, and a sum of such ones, is finite in float32."""


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


@dataclass(frozen=True)
class Moves:
    """What some groups added to the last layer.

    Classes come before groups, so that sums over classes run over whole lines of groups.

    Attributes
    ----------
    weights : `[width, classes × groups]`
    biases : `[classes × groups]`
    groups : int
    """

    weights: Tensor
    biases: Tensor
    groups: int

    @classmethod
    def of(cls, weights: Tensor, biases: Tensor) -> Moves:
        """Return those of `[groups, classes, width]` and `[groups, classes]`."""
        return cls(
            weights.permute(2, 1, 0).flatten(1).contiguous(), biases.T.flatten(), len(weights)
        )

    def of_outputs(self, features: Tensor) -> Tensor:
        """Return what is added to the outputs of rows, `[rows, classes, groups]`."""
        moved = torch.addmm(self.biases, features.to(self.weights), self.weights)
        return moved.view(len(features), -1, self.groups)


@dataclass(frozen=True)
class RankOneMoves:
    """What some groups added to the last layer, each along the features of one query.

    Attributes
    ----------
    learned : `[width, groups]`
    along : `[classes, groups]`
        How far along those features the weights of a class moved.
    biases : `[classes, groups]`
    """

    learned: Tensor
    along: Tensor
    biases: Tensor

    @classmethod
    def of(cls, weights: Tensor, biases: Tensor, learned: Tensor) -> RankOneMoves:
        """Return those of `[groups, classes, width]`, `[groups, classes]`, `[groups, width]`."""
        squares = learned.square().sum(dim=1, keepdim=True)
        tiny = torch.finfo(squares.dtype).tiny
        along = torch.bmm(weights, learned[:, :, None])[:, :, 0] / squares.clamp_min(tiny)
        return cls(learned.T.contiguous(), along.T.contiguous(), biases.T.contiguous())

    def of_outputs(self, features: Tensor) -> Tensor:
        """Return what is added to the outputs of rows, `[rows, classes, groups]`."""
        products = features.to(self.learned) @ self.learned
        return torch.addcmul(self.biases, products[:, None], self.along)


class HeadGroups:
    """Groups that differ in their last linear layer; see `Mirrored`.

    Parameters
    ----------
    tail : Tail
        One linear layer.
    task : Task
    heads : Heads
    numerics : Numerics
    learned : `[groups, width]` or None
        The features of each group's query, where each group has learned one query by plain
        gradient descent. Every step then moves the weights along these features, so that one
        number for each class says what the group learned, and not one for each weight.
    """

    def __init__(
        self,
        tail: Tail,
        task: Task,
        heads: Heads,
        numerics: Numerics = EXACT,
        learned: Tensor | None = None,
    ) -> None:
        self._tail, self._task, self._numerics = tail, task, numerics
        layer = tail.layers
        assert isinstance(layer, nn.Linear)
        # What moved, not where it came to: so that small changes keep their digits.
        weights = heads.weights - layer.weight.detach()
        biases = weights.new_zeros(weights.shape[:2])
        if heads.biases is not None:
            biases = heads.biases - layer.bias.detach()
        at_once = max(1, VALUES_AT_ONCE // (ROWS_AT_ONCE * weights.shape[1]))
        kind, values = (
            (Moves, [weights, biases])
            if learned is None
            else (RankOneMoves, [weights, biases, learned])
        )
        parts = zip(*(torch.split(value, at_once) for value in values), strict=True)
        self._moves: list[Moves | RankOneMoves] = [kind.of(*part) for part in parts]

    @torch.inference_mode()
    def changes(
        self, inputs: Inputs, labels: Tensor, losses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one forward pass for all groups; see `Mirrored`."""
        features, outputs = self._tail.run(inputs, self._numerics)
        outputs = outputs.double()
        found = self._task.losses(outputs, labels)
        parts = [
            self._changes(moves.of_outputs(features), outputs, labels, found)
            for moves in self._moves
        ]
        return found, torch.cat(parts, dim=1)

    def _changes(self, moved: Tensor, outputs: Tensor, labels: Tensor, losses: Tensor) -> Tensor:
        """Return `[rows, groups]` of what is added to the outputs, `[rows, classes, groups]`."""
        if isinstance(self._task, Classification) and self._task.outputs == "logits":
            return cross_entropy_changes(moved, outputs, labels)
        groups = moved.shape[2]
        rows = outputs.view(len(outputs), 1, -1) + moved.transpose(1, 2)
        found = self._task.losses(
            rows.reshape(-1, *outputs.shape[1:]), labels.repeat_interleave(groups, dim=0)
        )
        return found.view(-1, groups) - losses[:, None]


def cross_entropy_changes(moved: Tensor, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return how cross-entropy changes where the logits change, `[rows, groups]`, nats.

    The loss is the logarithm of 1 + the odds of the other classes. A change of the logits
    multiplies the odds, so that one exponential and one product with the trained model's odds
    serve all groups; changes of small losses keep their digits.

    Parameters
    ----------
    moved : `[rows, classes, groups]`
        What is added to the logits; overwritten.
    outputs : `[rows, classes]`
        The trained model's logits, double.
    labels : int64 `[rows]`
    """
    own = labels[:, None]
    logarithms = outputs - outputs.gather(1, own)
    logarithms.scatter_(1, own, -torch.inf)
    odds = logarithms.exp()
    moved -= moved.gather(1, own[:, :, None].expand(-1, 1, moved.shape[2]))
    if max(moved.max(), logarithms.max()) < LARGEST_EXPONENT / 2:
        found = torch.bmm(odds.to(moved)[:, None], moved.exp_())[:, 0].log1p_()
        return found.sub_(odds.sum(dim=1, keepdim=True).log1p())
    losses = functional.softplus(torch.logsumexp(logarithms, dim=1, keepdim=True), threshold=40)
    changed = torch.logsumexp(logarithms[:, :, None] + moved, dim=1)
    return functional.softplus(changed, threshold=40) - losses


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
        features, outputs = self._tail.run(inputs, self._numerics)
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

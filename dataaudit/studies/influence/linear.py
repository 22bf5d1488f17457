"""The linear mirror: the exact first-order change of each row's loss along a step.

A small step v of the parameters changes the loss of a row by the derivative <gradient, v>. Two
ways give it for many rows at once, without the gradient of any single row:

- layer by layer. Most layers are linear in their parameters, so that what v does to the output
  of a layer is the layer itself, run on the same input with v in place of its parameters. The
  product with the gradient of the loss by that output, summed over layers, is the derivative.
  One forward and one backward pass (by the outputs only) serve all groups; each group then costs
  what the layers cost, about one forward pass.
- forward mode (`torch.func.jvp`), for modules with parameters elsewhere: two to four forward
  passes for each group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from dataaudit.errors import ModelError
from dataaudit.mirror.finite import FiniteSettings, Part, finite_mirror
from dataaudit.models.parameters import moving_parameters
from dataaudit.models.trained import Inputs, forward
from dataaudit.scoring.swap import Swapper
from dataaudit.studies.influence.mirrored import Mirrored
from dataaudit.tasks import Task

Direction = Mapping[str, Tensor]
"""A step of some parameters, by name."""

LINEAR_IN_PARAMETERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.Embedding,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
)
"""In eval mode their output is linear in weight and bias together."""
TOLERANCE = 1e-3
"""Both ways must agree so closely on the rows that they are tried on, relative to the largest."""


def step_direction(
    module: nn.Module, task: Task, batches: Iterator[Sequence[Part]], settings: FiniteSettings
) -> dict[str, Tensor]:
    """Return the step that the finite mirror would take, by parameter name.

    One step of plain gradient descent is the gradient times the learning rate, without the
    rounding of a difference; anything longer is the difference of parameters after and before.

    Parameters
    ----------
    module, task, batches, settings
        As `finite_mirror` takes them.
    """
    moving = moving_parameters(module, settings.parameters)
    if settings.steps > 1 or settings.optimizer != "sgd":
        moved = finite_mirror(module, task, batches, settings, shown=False).tensors
        return {name: moved[name] - parameter.detach() for name, parameter in moving.items()}
    parts = next(batches)
    count = sum(len(labels) for _, labels in parts)
    with torch.enable_grad():
        losses = [task.losses(forward(module, inputs), labels).sum() for inputs, labels in parts]
        loss = torch.stack(losses).sum() / count
        gradients = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
    rate = settings.learning_rate * (-1 if settings.direction == "learn" else 1)
    return {
        name: rate * (torch.zeros_like(parameter) if gradient is None else gradient)
        for (name, parameter), gradient in zip(moving.items(), gradients, strict=True)
    }


def linear_groups(
    module: nn.Module, task: Task, directions: Sequence[Direction], trial: Part
) -> Mirrored:
    """Return the groups, in the faster of the two ways that is right for this module.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode.
    task : Task
    directions : sequence of Direction
        One for each group, all of the same parameters.
    trial : Part
        Inputs and labels of some rows on which both ways are compared.

    Raises
    ------
    ModelError
        Forward mode does not know an operation of the module, and layer by layer is not right.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            "mirror.kind: linear cannot be used with TorchScript, whose forward-mode derivatives "
            "are silently zero; use finite"
        )
    generator = torch.Generator().manual_seed(0)
    anywhere = {
        name: torch.randn(value.shape, generator=generator).to(value)
        for name, value in directions[0].items()
    }
    try:
        expected = ForwardModeGroups(module, task, [anywhere]).changes(*trial)[1]
    except (RuntimeError, NotImplementedError, ModelError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ModelError(
            "mirror.kind: linear cannot be used with this model: an operation has no "
            f"forward-mode derivative ({reason}); use finite"
        ) from None
    by_layers = LayerwiseGroups(module, task, [anywhere])
    if by_layers.covers_all and _agree(by_layers, trial, expected):
        return LayerwiseGroups(module, task, directions)
    return ForwardModeGroups(module, task, directions)


def _agree(by_layers: LayerwiseGroups, trial: Part, expected: Tensor) -> bool:
    try:
        found = by_layers.changes(*trial)[1]
    except (RuntimeError, ModelError):
        # Outputs whose first dimension is not the rows, say.
        return False
    return bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max())


class LayerwiseGroups:
    """First-order changes, layer by layer; see `Mirrored`.

    Parameters
    ----------
    module, task, directions
        As in `linear_groups`.
    """

    def __init__(self, module: nn.Module, task: Task, directions: Sequence[Direction]) -> None:
        self._module, self._task = module, task
        parameters = dict(module.named_parameters())
        names = {id(parameters[name]): name for name in directions[0]}
        self._layers = [
            part
            for part in module.modules()
            if any(id(value) in names for value in part.parameters(recurse=False))
        ]
        self.covers_all = all(_is_linear_in_parameters(part) for part in self._layers)
        """Whether every parameter that moves belongs to a layer that is linear in it."""
        self._swappers = {part: Swapper(part) for part in self._layers}
        self._steps = [
            {part: _step_of(part, names, direction) for part in self._layers}
            for direction in directions
        ]

    def changes(
        self, inputs: Inputs, labels: Tensor, losses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one forward and one backward pass, then the layers for each group."""
        calls: list[_Call] = []
        with torch.enable_grad(), _frozen(self._module), _recording(self._layers, calls):
            found = self._task.losses(forward(self._module, inputs).double(), labels)
            if found.requires_grad:
                found.sum().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            columns = [self._change(calls, steps, len(labels)) for steps in self._steps]
        return found.detach(), torch.stack(columns, dim=1)

    def _change(
        self, calls: Sequence[_Call], steps: Mapping[nn.Module, Direction], rows: int
    ) -> Tensor:
        total: Tensor | None = None
        for call in calls:
            if call.gradient is None:
                continue
            with self._swappers[call.layer].holding(steps[call.layer]):
                moved = call.layer.forward(*call.arguments, **call.named)
            # Summed as it lies in memory: reshaping images with channels last would copy them.
            product = moved.mul_(call.gradient)
            change = product.sum(dim=tuple(range(1, product.ndim))) if product.ndim > 1 else product
            change = change.view(rows, -1).sum(dim=1).double()
            total = change if total is None else total + change
        if total is None:
            raise ModelError("mirror: none of the parameters that move is used in a forward pass")
        return total


class _Call:
    """One call of a layer: what it was given, and the gradient of the loss by its output."""

    def __init__(self, layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.layer = layer
        self.arguments = tuple(_detached(value) for value in arguments)
        self.named = {name: _detached(value) for name, value in named.items()}
        self.gradient: Tensor | None = None

    def keep(self, gradient: Tensor) -> None:
        self.gradient = gradient


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


@contextmanager
def _recording(layers: Sequence[nn.Module], calls: list[_Call]) -> Iterator[None]:
    """Note every call of the layers, and the gradients that come back to their outputs."""

    def record(
        layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Tensor
    ) -> Tensor:
        call = _Call(layer, arguments, named)
        calls.append(call)
        if not output.requires_grad:
            # The graph starts here. A copy, because operations in place may follow.
            output = output.detach().requires_grad_().clone()
        output.register_hook(call.keep)  # type: ignore[no-untyped-call]
        return output

    with ExitStack() as stack:
        for layer in layers:
            handle = layer.register_forward_hook(record, with_kwargs=True)
            stack.callback(handle.remove)
        yield


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Let no parameter ask for its gradient: only those by the layers' outputs are needed."""
    asking = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


def _is_linear_in_parameters(part: nn.Module) -> bool:
    # A subclass may do anything in its forward; an embedding with a bound changes its weights.
    return type(part) in LINEAR_IN_PARAMETERS and getattr(part, "max_norm", None) is None


def _step_of(part: nn.Module, names: Mapping[int, str], direction: Direction) -> Direction:
    """Return the step of a layer's own parameters; zero for those that do not move."""
    return {
        name: direction[names[id(value)]] if id(value) in names else torch.zeros_like(value)
        for name, value in part.named_parameters(recurse=False)
    }


class ForwardModeGroups:
    """First-order changes by forward-mode derivatives; see `Mirrored`.

    Parameters
    ----------
    module, task, directions
        As in `linear_groups`.
    """

    def __init__(self, module: nn.Module, task: Task, directions: Sequence[Direction]) -> None:
        self._module, self._task, self._directions = module, task, directions

    @torch.no_grad()
    def changes(
        self, inputs: Inputs, labels: Tensor, losses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one Jacobian-vector product for each group."""
        parameters = {name: value.detach() for name, value in self._module.named_parameters()}

        def at(moved: dict[str, Tensor]) -> Tensor:
            def run(*arguments: Any, **named: Any) -> Any:
                return functional_call(self._module, parameters | moved, arguments, named)

            return self._task.losses(forward(run, inputs).double(), labels)

        columns = []
        with _kernels_with_forward_mode(self._module):
            for direction in self._directions:
                point = {name: parameters[name] for name in direction}
                losses, change = _product(at, point, dict(direction))
                columns.append(change)
        assert losses is not None
        return losses, torch.stack(columns, dim=1)


def _product(
    function: Callable[[dict[str, Tensor]], Tensor],
    point: dict[str, Tensor],
    direction: dict[str, Tensor],
) -> tuple[Tensor, Tensor]:
    value, change = jvp(function, (point,), (direction,))[:2]
    return value, change


@contextmanager
def _kernels_with_forward_mode(module: nn.Module) -> Iterator[None]:
    """Choose kernels that have forward-mode derivatives: attention by matrix products, say."""
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if recurrent:
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        yield

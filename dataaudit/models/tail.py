"""The tail: the last layers of a model, which alone may move while all before them stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dataaudit.errors import ModelError
from dataaudit.models.numerics import EXACT, Numerics
from dataaudit.models.parameters import last_linear
from dataaudit.models.trained import Inputs, forward

TOLERANCE = 1e-4
"""The tail run alone must give the model's outputs so closely."""


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

    def run(self, inputs: Inputs, numerics: Numerics = EXACT) -> tuple[Tensor, Tensor]:
        """Run the whole model; return the tail's inputs (features), and the outputs.

        Raises
        ------
        ModelError
            The last layers were not called exactly once with one tensor.
        """
        device = next(self.module.parameters()).device
        with _caught_inputs(self.layers) as caught, numerics.autocast(device):
            outputs = forward(self.module, inputs)
        if len(caught) != 1 or len(caught[0]) != 1 or not isinstance(caught[0][0], Tensor):
            raise ModelError(
                f"mirror.kind: head: {self.name} was called {len(caught)} times in one forward "
                "pass; expected once, with one tensor; use finite"
            )
        features = caught[0][0]
        # Outside of autocast the layers take what their own weights are.
        return features.float() if numerics.precision == "bfloat16" else features, outputs


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
        There is no such part, its output is not the model's, or its parameters work elsewhere too.
    """
    if name is None:
        last = last_linear(module)
        if last is None:
            raise ModelError("mirror.kind: head needs a linear layer; the model has none")
        name = last[0]
    parts = dict(module.named_modules())
    if name not in parts:
        raise ModelError(
            f"mirror.layers: the model has no part called {name}; it has "
            f"{', '.join(key for key, _ in module.named_children())}"
        )
    tail = Tail(module, parts[name], name)
    _refuse_shared(tail)
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
            "model's output, something comes after it; name the last layers (`layers` of "
            "dataaudit.mirrored_influence), or use finite"
        )
    return tail


def _refuse_shared(tail: Tail) -> None:
    inside = {id(parameter) for parameter in tail.layers.parameters()}
    for name, parameter in tail.module.named_parameters(remove_duplicate=False):
        own = name.startswith(f"{tail.name}.") if tail.name else True
        if id(parameter) in inside and not own:
            raise ModelError(
                f"mirror.kind: head: {tail.name} shares its parameters with {name}, which would "
                "move along; use finite"
            )

"""Which tensor of what a module returns are its outputs, and in which shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from dataaudit.errors import ModelError
from dataaudit.models.trained import output_tensor

Key = str | int
Named = dict[Key | None, Tensor]
"""The floating tensors that a module returns, by key or place; None where it returns one alone."""

Fits = Callable[[tuple[int, ...]], bool]
"""Of a shape `[rows, …]`: whether outputs of the task can have it."""
Skill = Callable[[Tensor], float]
"""Of outputs: share of the way from chance to always right, on labelled rows."""

CLEARLY_BETTER = 0.1
"""In skill: of two tensors that both fit, the one that is better by this is meant."""


def named_outputs(result: Any, rows: int) -> Named:
    """Return the floating tensors with one entry for each row in what a module returned."""
    if isinstance(result, Tensor):
        return {None: result}
    if hasattr(result, "logits") and isinstance(result.logits, Tensor):
        return {"logits": result.logits}
    if isinstance(result, Mapping):
        items: list[tuple[Any, Any]] = list(result.items())
        if isinstance(result.get("logits"), Tensor):
            return {"logits": result["logits"]}
    elif isinstance(result, tuple | list):
        items = list(enumerate(result))
    else:
        return {}
    return {
        key: value
        for key, value in items
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and value.ndim > 0
        and len(value) == rows
    }


def flattened(outputs: Tensor) -> Tensor:
    """Return `[rows, …]` outputs without dimensions of size 1: (N, 1, C) and (N, C, 1, 1)."""
    if outputs.ndim <= 2 or sum(size != 1 for size in outputs.shape[1:]) > 1:
        return outputs
    return outputs.reshape(len(outputs), -1)


def choose(
    outputs: Named, fits: Fits, skill: Skill, *, exactly: bool = True
) -> tuple[Key | None, str]:
    """Return the key of the tensor that is the outputs, and a sentence where it had to be chosen.

    Parameters
    ----------
    outputs : Named
        At least one.
    fits : function of shape
    skill : function of outputs
    exactly : bool
        Whether a shape that fits is enough, where only one does.

    Raises
    ------
    ModelError
        It cannot be told.
    """
    if len(outputs) == 1:
        return next(iter(outputs)), ""
    fitting = [key for key, value in outputs.items() if fits(tuple(flattened(value).shape))]
    shapes = ", ".join(f"{key!r} {tuple(value.shape)}" for key, value in outputs.items())
    if not fitting:
        raise ModelError(
            f"the model returned {len(outputs)} tensors ({shapes}), none of which fits the labels; "
            "expected one column for each class; return the logits alone"
        )
    chosen = fitting[0]
    if len(fitting) > 1 or not exactly:
        skills = {key: skill(flattened(outputs[key])) for key in fitting}
        best = max(skills, key=lambda key: skills[key])
        rivals = [key for key in fitting if skills[best] - skills[key] < CLEARLY_BETTER]
        # By convention the main output comes first, before auxiliary ones that know as much.
        if skills[best] < CLEARLY_BETTER or (len(rivals) > 1 and fitting[0] not in rivals):
            raise ModelError(
                f"the model returned {len(outputs)} tensors ({shapes}); which of them are its "
                "outputs cannot be told from the labels; return the logits alone"
            )
        chosen = rivals[0] if len(rivals) > 1 else best
    return chosen, f"of the tensors that the model returns ({shapes}), {chosen!r} is read"


class Around(nn.Module):
    """A module that makes something else of what another one returns.

    Its parameters, buffers and parts are the other module's own, under the same names, so that
    weights, patterns of names and copies fit as before.

    Parameters
    ----------
    inner : torch.nn.Module
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        # Not registered: a part would put its name before all the others.
        self.__dict__["_inner"] = (inner,)
        self.__dict__["_parameters"] = inner._parameters
        self.__dict__["_buffers"] = inner._buffers
        self.__dict__["_modules"] = inner._modules
        self.training = inner.training

    @property
    def inner(self) -> nn.Module:
        """The other module."""
        found: nn.Module = self.__dict__["_inner"][0]
        return found

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the other module, and of this one."""
        self.inner.train(mode)
        self.training = mode
        return self


class OutputsOf(Around):
    """A module that returns one of another module's tensors, flattened.

    Parameters
    ----------
    inner : torch.nn.Module
    key : str, int or None
        Of the tensor; None where there is only one.
    flatten : bool
    """

    def __init__(self, inner: nn.Module, key: Key | None, flatten: bool) -> None:
        super().__init__(inner)
        self._key = key
        self._flatten = flatten

    def forward(self, *arguments: Any, **named: Any) -> Tensor:
        """Return the outputs, `[rows, …]`."""
        result = self.inner(*arguments, **named)
        found: Tensor = output_tensor(result) if self._key is None else result[self._key]
        return flattened(found) if self._flatten else found


def reading(module: nn.Module, key: Key | None, flatten: bool) -> nn.Module:
    """Return the module, or what returns the outputs meant where `output_tensor` would not."""
    # These it takes by itself.
    key = None if key in ("logits", 0) else key
    return OutputsOf(module, key, flatten) if key is not None or flatten else module


@torch.no_grad()
def share_right(predictions: Tensor, labels: Tensor) -> float:
    """Return the share of the way from the largest class to always right, of `[rows, C]`."""
    if len(labels) == 0:
        return 0.0
    largest = float(torch.bincount(labels).max()) / len(labels)
    right = float((predictions.argmax(dim=1) == labels).double().mean())
    return (right - largest) / max(1 - largest, 1e-12)

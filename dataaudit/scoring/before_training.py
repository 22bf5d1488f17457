"""What a model saw in its inputs before it was fine-tuned: features that know no label."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dataaudit.errors import ModelError
from dataaudit.models.initial import Initial
from dataaudit.models.parameters import last_linear
from dataaudit.models.rewards import of_each_row
from dataaudit.scoring.perturbation import Perturbation

MOST_FEATURES = 2048
"""Wider ones are projected at random, which hardly changes distances (Johnson and Lindenstrauss
1984), so that a table of features by features fits into memory."""


class BeforeTraining(nn.Module):
    """A model as it was before training, up to where fresh weights begin.

    Its output is what enters the first part that training began afresh, such as a new head, or
    else the last linear layer; with it, for texts, the mean over the tokens of what came last.

    Parameters
    ----------
    module : torch.nn.Module
        The trained model; it is copied.
    initial : Initial
    """

    def __init__(self, module: nn.Module, initial: Initial) -> None:
        super().__init__()
        self.inner = Perturbation(initial.tensors).copy_of(module).eval()
        self.fresh = frozenset(initial.fresh)

    def forward(self, *arguments: Any, **named: Any) -> Tensor:
        """Return features, `[rows, width]`, in float32."""
        heads, body = _heads(self.inner, self.fresh)
        with _caught(heads, body) as caught:
            self.inner(*arguments, **named)
        mask = named.get("attention_mask")
        mask = None if mask is None else mask.flatten(0, -2)
        parts = [of_each_row(self.inner, _pooled(value, mask)) for value in caught.values()]
        if not parts:
            raise ModelError(
                "model.initial: no part of the model takes features that could be looked at; "
                "expected a model that ends in a linear layer, or in parts that the initial "
                "model does not have"
            )
        features = torch.cat(parts, dim=1)
        return features if features.shape[1] <= MOST_FEATURES else _projected(features)


@dataclass
class _Caught:
    """What is on its way through a model: what entered the head, and the last tokens."""

    head: Tensor | None = None
    tokens: Tensor | None = None

    def values(self) -> list[Tensor]:
        # A head that takes all tokens takes what the last part gave.
        head = None if self.head is None or self.head.ndim == 3 else self.head
        return [value for value in (self.tokens, head) if value is not None]


def _heads(module: nn.Module, fresh: frozenset[str]) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return the outermost parts of fresh weights alone, or the last linear layer; and the rest.

    Of the rest, the parts that have weights themselves.
    """
    parts = dict(module.named_modules())
    own = {
        name: [f"{name}.{key}" for key, _ in part.named_parameters()]
        for name, part in parts.items()
    }
    all_fresh = {name for name, keys in own.items() if keys and all(key in fresh for key in keys)}
    heads = [
        parts[name]
        for name in sorted(all_fresh)
        if not any(name.startswith(f"{other}.") for other in all_fresh)
    ]
    last = last_linear(module)
    if not heads and last is not None:
        heads = [last[1]]
    inside = {id(part) for head in heads for part in head.modules()}
    body = [
        part
        for name, part in parts.items()
        if id(part) not in inside and any(True for _ in part.parameters(recurse=False))
    ]
    return heads, body


@contextmanager
def _caught(heads: list[nn.Module], body: list[nn.Module]) -> Iterator[_Caught]:
    found = _Caught()

    def enters(part: nn.Module, arguments: tuple[Any, ...]) -> None:
        if found.head is None and arguments and isinstance(arguments[0], Tensor):
            found.head = arguments[0]

    def leaves(part: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        # Fresh weights before this one were no head.
        found.head = None
        if isinstance(output, Tensor) and output.ndim == 3:
            found.tokens = output

    handles = [head.register_forward_pre_hook(enters) for head in heads]
    handles += [part.register_forward_hook(leaves) for part in body]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _pooled(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return one vector a row: the mean over tokens that are no padding, or over pixels."""
    values = values.float()
    if values.ndim == 3 and mask is not None and mask.shape == values.shape[:2]:
        weights = mask.to(values.dtype)[:, :, None]
        return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)
    if values.ndim == 3:
        return values.mean(dim=1)
    return values.mean(dim=(2, 3)) if values.ndim == 4 else values.flatten(1)


def _projected(features: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = features.shape[1], MOST_FEATURES
    directions = torch.randn(shape, generator=generator).to(features.device)
    return features @ directions / MOST_FEATURES**0.5

"""Perturbations: what a mirror changes in a model, and nothing else of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


@dataclass(frozen=True)
class Perturbation:
    """New values for some of a module's parameters and buffers; empty = the model itself.

    Attributes
    ----------
    tensors : mapping of name to Tensor
    flip : bool
        Whether the perturbed model sees images mirrored left to right.
    """

    tensors: Mapping[str, Tensor]
    flip: bool = False

    def apply(self, module: nn.Module) -> Callable[..., Any]:
        """Return a callable that runs `module` with these values; `module` is not changed."""
        if not self.tensors and not self.flip:
            return module
        tensors, flip = dict(self.tensors), self.flip

        def perturbed(*arguments: Any, **named: Any) -> Any:
            if flip:
                arguments = tuple(images.flip(-1) for images in arguments)
            return functional_call(module, tensors, arguments, named)

        return perturbed

    def copy_of(self, module: nn.Module) -> nn.Module:
        """Return a copy of `module` that holds these values."""
        result = copy.deepcopy(module)
        with torch.no_grad():
            for name, value in [*result.named_parameters(), *result.named_buffers()]:
                if name in self.tensors:
                    value.copy_(self.tensors[name])
        return result


UNPERTURBED = Perturbation({})

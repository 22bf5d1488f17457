"""Perturbations: what a mirror changes in a model, and nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


@dataclass(frozen=True)
class Perturbation:
    """New values for some of a module's parameters and buffers; empty = the model itself."""

    tensors: Mapping[str, Tensor]

    def apply(self, module: nn.Module) -> Callable[..., Any]:
        """Return a callable that runs `module` with these values; `module` is not changed."""
        if not self.tensors:
            return module
        tensors = dict(self.tensors)
        return lambda *args, **kwargs: functional_call(module, tensors, args, kwargs)


UNPERTURBED = Perturbation({})

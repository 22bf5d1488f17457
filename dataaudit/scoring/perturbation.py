"""Perturbations: what a mirror changes in a model, and nothing else of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


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

    def copy_of(self, module: nn.Module) -> nn.Module:
        """Return a copy of `module` that holds these values."""
        result = copy.deepcopy(module)
        with torch.no_grad():
            for name, value in [*result.named_parameters(), *result.named_buffers()]:
                if name in self.tensors:
                    value.copy_(self.tensors[name])
        return result


UNPERTURBED = Perturbation({})

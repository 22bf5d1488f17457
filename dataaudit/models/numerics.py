"""How the forward passes are computed: in which precision, compiled or not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

COMPILER = "inductor"
"""What torch.compile compiles with; on a CPU it needs a C++ compiler."""

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Numerics:
    """How forward passes over the rows are computed; the query steps are always exact.

    Attributes
    ----------
    precision : "float32" or "bfloat16"
        bfloat16 runs matrix products and convolutions under autocast; losses stay in float32.
        Scores then carry three decimal digits of the outputs.
    compiled : bool
        Whether `torch.compile` is applied first: worth it for long runs only.
    """

    precision: Precision = "float32"
    compiled: bool = False

    def runnable(self, module: nn.Module) -> Callable[..., Any]:
        """Return what to call instead of `module`; it follows the module's parameters."""
        return torch.compile(module, backend=COMPILER) if self.compiled else module

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context in which forward passes run."""
        return torch.autocast(
            device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"
        )


EXACT = Numerics()

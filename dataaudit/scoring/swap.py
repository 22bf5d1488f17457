"""Swapping: the values of a perturbation put into the module itself, and taken out again.

`torch.func.functional_call` does the same without touching the module, but looks every parameter
up again at each call, which for small models costs more than their forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


class Swapper:
    """Runs a module under other values of its parameters and buffers.

    Not for two threads at once: while values are held, everybody who calls the module sees them.

    Parameters
    ----------
    module : torch.nn.Module
    """

    def __init__(self, module: nn.Module) -> None:
        self._targets: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
        self._targets.update(module.named_buffers(remove_duplicate=False))

    @contextmanager
    def holding(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Hold other values inside the `with` block; afterwards the module is as it was.

        Parameters
        ----------
        tensors : mapping of name to Tensor
            Of the shape, type and device that the module has them in. Tied parameters move
            together, whichever of their names is given.
        """
        own: list[tuple[Tensor, Tensor]] = []
        try:
            for name, value in tensors.items():
                target = self._targets[name]
                own.append((target, target.data))
                target.data = value
            yield
        finally:
            # Backwards, for tied parameters that were given under both of their names.
            for target, value in reversed(own):
                target.data = value

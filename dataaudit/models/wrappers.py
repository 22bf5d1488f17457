"""What people wrap a module in to run it on several devices, or compiled."""

from __future__ import annotations

from torch import nn


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module itself without DataParallel, DistributedDataParallel or torch.compile."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        else:
            # By its name: the class is torch's own secret.
            inner = module.__dict__.get("_modules", {}).get("_orig_mod")
        if not isinstance(inner, nn.Module):
            return module
        module = inner

"""What workers are to hold, as bytes: models with the code of the user's own modules."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeGuard

from torch import nn

from dataaudit.models.loading import modules_of_audits


def packed(held: Any, *, of: nn.Module, with_code_of: Iterable[Any] = ()) -> bytes:
    """Pickle what workers hold, with the user's own code.

    Both ends of this are processes of the same user, so that nothing foreign is unpickled.

    Parameters
    ----------
    held : object
    of : torch.nn.Module
        The model, whose code goes along.
    with_code_of : iterable of objects
        Functions and classes whose code goes along, too.
    """
    from ray import cloudpickle

    with code_goes_along([*(type(part) for part in of.modules()), *with_code_of]):
        return bytes(cloudpickle.dumps(held))


@contextmanager
def code_goes_along(parts: Iterable[Any]) -> Iterator[None]:
    """Pickle the user's own modules by value, inside the `with` block.

    Their code lies beside `audit.yaml`, where no other machine looks for it; so does that of the
    neighbours which they import.

    Parameters
    ----------
    parts : iterable of functions and classes
        What the modules define.
    """
    from ray import cloudpickle

    found = [sys.modules.get(getattr(part, "__module__", None) or "") for part in parts]
    modules = {module for module in [*found, *modules_of_audits()] if _is_own(module)}
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _is_own(module: ModuleType | None) -> TypeGuard[ModuleType]:
    """Tell whether a module is the user's own file."""
    file = getattr(module, "__file__", None) or "site-packages"
    package = str(getattr(module, "__name__", "")).partition(".")[0]
    return "site-packages" not in file and package not in ("dataaudit", "torch")

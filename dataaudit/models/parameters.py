"""Which parameters of a model a mirror moves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor, nn

from dataaudit.errors import ConfigError

Parameters = Literal["all", "last", "adapters"] | Sequence[str]
"""All; the last linear layer's; those that PEFT added; or patterns of names."""

_ADAPTER_MARKS = ("lora_", "modules_to_save")
_SHOWN = 5


def moving_parameters(module: nn.Module, choice: Parameters) -> dict[str, nn.Parameter]:
    """Return the parameters that a mirror moves, by their names in the module.

    Parameters
    ----------
    module : torch.nn.Module
    choice : "all", "last", "adapters" or patterns
        A pattern is matched against whole names, and `*` stands for any text: `layer4.*`.

    Returns
    -------
    mapping of name to Parameter
        Floating, and trainable in the user's model: what is frozen stays frozen.

    Raises
    ------
    ConfigError
        There are none.
    """
    trainable = {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and parameter.is_floating_point()
    }
    chosen = _chosen(module, trainable, choice)
    if not chosen:
        asked = choice if isinstance(choice, str) else f"[{', '.join(choice)}]"
        names = list(trainable)
        shown = ", ".join(names[-_SHOWN:]) if names else "none"
        raise ConfigError(
            f"mirror.parameters: {asked} chooses no parameter of {type(module).__name__} that may "
            f"move; of those, there are {len(names)}, the last: {shown}"
        )
    return chosen


def sha256_of(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, shapes, types and values, hex."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def last_linear(module: nn.Module) -> tuple[str, nn.Module] | None:
    """Return name and module of the last linear layer, in the order in which they were made.

    The `Conv1D` of GPT-2 is one: a linear layer whose weights are transposed.
    """
    linear = [(name, part) for name, part in module.named_modules() if _is_linear(part)]
    return linear[-1] if linear else None


def _is_linear(part: nn.Module) -> bool:
    # By its name: transformers need not be installed. torch's own convolution is called Conv1d.
    return isinstance(part, nn.Linear) or type(part).__name__ == "Conv1D"


def _chosen(
    module: nn.Module, trainable: dict[str, nn.Parameter], choice: Parameters
) -> dict[str, nn.Parameter]:
    if choice == "all":
        return trainable
    if choice == "last":
        found = last_linear(module)
        # By identity: a layer tied to an embedding goes by the embedding's name.
        own = {id(parameter) for parameter in found[1].parameters()} if found else set()
        return {name: value for name, value in trainable.items() if id(value) in own}
    if choice == "adapters":
        return {
            name: value
            for name, value in trainable.items()
            if any(mark in name for mark in _ADAPTER_MARKS)
        }
    for pattern in choice:
        if not any(fnmatchcase(name, pattern) for name in trainable):
            return {}
    return {
        name: value
        for name, value in trainable.items()
        if any(fnmatchcase(name, pattern) for pattern in choice)
    }

"""Where training started: the weights that a fine-tuned model was made from.

A model that learns again is moved back towards where it came from. For most models that is not
chance but a pre-trained model, and what that knew about the rows owes nothing to their labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dataaudit.errors import ModelError
from dataaudit.models.loading import read_state, some
from dataaudit.models.parameters import moving_parameters, sha256_of

SMALLEST_SHARE = 0.1
"""Of the model's weights that the initial ones must fit: less is another model's file."""
_DEEPEST_PREFIX = 3


@dataclass(frozen=True)
class Initial:
    """Weights before training, under the names of the trained model.

    Attributes
    ----------
    tensors : mapping of name to Tensor
        Parameters and floating buffers, shaped and placed as the trained model's.
    fresh : tuple of str
        Parameters that the initial model lacks or has in another shape, such as a new head's.
    """

    tensors: Mapping[str, Tensor]
    fresh: tuple[str, ...]

    def to(self, device: torch.device) -> Initial:
        """Return the same on `device`."""
        moved = {name: value.to(device) for name, value in self.tensors.items()}
        return replace(self, tensors=moved)

    def sha256(self) -> str:
        """Hash names, shapes, types and values, hex."""
        return sha256_of(self.tensors)

    @property
    def description(self) -> str:
        """For the report."""
        return f"known, but for {some(self.fresh)}" if self.fresh else "known"


def initial_of(module: nn.Module, given: Any, apart: nn.Module | None = None) -> Initial | None:
    """Return the weights that a module's training started from, where they are known.

    Parameters
    ----------
    module : torch.nn.Module
        The trained one.
    given : Path, str, torch.nn.Module, mapping of name to Tensor, or None
        None: those of a model with LoRA adapters are known all the same, for it holds its base.
    apart : torch.nn.Module or None
        The part of it, if any, whose weights are in other units than those given.

    Raises
    ------
    ModelError
        What is given cannot be read, fits the module nowhere, or holds the trained weights.
    """
    own = _without_adapters(module)
    if given is None:
        return None if own is None else Initial(own, ())
    where, state = _state_of(given)
    found = {**(own or {}), **_matched(module, state, apart, where)}
    fresh = tuple(name for name, _ in module.named_parameters() if name not in found)
    initial = Initial(found, fresh)
    _refuse_trained(module, initial, where)
    return initial


def _state_of(given: Any) -> tuple[str, Mapping[str, Tensor]]:
    """Return what was given in words, and its tensors by name."""
    if isinstance(given, nn.Module):
        return f"model.initial: {type(given).__name__}", given.state_dict()
    if isinstance(given, Mapping):
        if not all(isinstance(value, Tensor) for value in given.values()):
            raise ModelError("model.initial: expected a mapping of names to tensors (a state dict)")
        return "model.initial: a state dict", given
    if not isinstance(given, str | Path):
        raise ModelError(
            f"model.initial: found {type(given).__name__}, expected a path, a torch.nn.Module or a "
            "state dict"
        )
    path = Path(given)
    where = f"model.initial: {path}"
    if not path.is_dir():
        return where, read_state(path, "model.initial")
    return where, _folder(path, where)


def _folder(folder: Path, where: str) -> Mapping[str, Tensor]:
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{where}: holds PEFT adapters; expected the model that they were added to, which a "
            "model with adapters holds anyway, so leave model.initial out"
        )
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{where}: has no config.json; expected a folder that transformers saved, or a file "
            "of weights"
        )
    from dataaudit.models.transformers_folder import load_weights_of

    return load_weights_of(folder, where)


def _matched(
    module: nn.Module, state: Mapping[str, Tensor], apart: nn.Module | None, where: str
) -> dict[str, Tensor]:
    """Return the tensors of a state that fit the module in name and shape.

    Either may be part of something larger: the prefixes (`backbone.`, `bert.`) are taken off and
    put on under which most weights fit.
    """
    wanted = _targets(module, apart)
    plain: dict[str, str] = {}
    for name in wanted:
        plain.setdefault(_without_wrappers(name), name)
    best: dict[str, str] = {}
    most = 0
    for off in _prefixes(state):
        inside = {name.removeprefix(off): name for name in state if name.startswith(off)}
        for on in _prefixes(plain):
            pairs = {
                plain[on + name]: full
                for name, full in inside.items()
                if on + name in plain and state[full].shape == wanted[plain[on + name]].shape
            }
            size = sum(state[full].numel() for full in pairs.values())
            if size > most:
                best, most = pairs, size
    total = sum(parameter.numel() for parameter in module.parameters())
    if most < SMALLEST_SHARE * total:
        raise ModelError(
            f"{where}: fits {most / total:.0%} of the model's weights by name and shape; expected "
            f"the model that training started from; the file has {some(list(state))}, the model "
            f"{some(list(plain))}"
        )
    canonical = {id(value): name for name, value in _unique(module).items()}
    found = {}
    for name, full in best.items():
        like, value = wanted[name], state[full].detach()
        if not value.is_floating_point():
            raise ModelError(f"{where}: {full} is {value.dtype}; expected floating weights")
        value = value.to(device=like.device, dtype=like.dtype)
        if not bool(torch.isfinite(value).all()):
            raise ModelError(f"{where}: {full} holds NaN or infinite values")
        found[canonical[id(like)]] = value
    return found


def _targets(module: nn.Module, apart: nn.Module | None) -> dict[str, Tensor]:
    """Return what may be matched: parameters and floating buffers under all of their names."""
    named = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    left_out = set() if apart is None else {id(value) for value in apart.parameters()}
    return {
        name: value
        for name, value in named
        if value.is_floating_point() and id(value) not in left_out
    }


def _unique(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _without_wrappers(name: str) -> str:
    # What PEFT puts around a layer that it adapts, and around the model.
    return name.replace("base_model.model.", "").replace(".base_layer.", ".")


def _prefixes(names: Mapping[str, Any]) -> list[str]:
    parts = [name.split(".") for name in names]
    found = {
        "".join(f"{part}." for part in name[:depth])
        for name in parts
        for depth in range(min(len(name), _DEEPEST_PREFIX + 1))
    }
    return sorted(found, key=lambda prefix: (len(prefix), prefix))


def _without_adapters(module: nn.Module) -> dict[str, Tensor] | None:
    """Return the weights of a LoRA model before training; None where it has no such adapters.

    LoRA adds B A to a matrix, and B starts at 0 (Hu et al., ICLR 2022). A is left as it is: while
    B is 0 it does nothing. PEFT keeps what its `modules_to_save` were beside what they became.
    """
    parameters = dict(module.named_parameters())
    if not any("lora_" in name for name in parameters):
        return None
    found = {}
    for name, value in parameters.items():
        before, saved, after = name.partition(".modules_to_save.")
        original = f"{before}.original_module.{after.partition('.')[2]}"
        if saved and original in parameters:
            found[name] = parameters[original].detach()
        elif "lora_B" in name or "lora_embedding_A" in name:
            found[name] = torch.zeros_like(value)
        else:
            found[name] = value.detach()
    return found


def _refuse_trained(module: nn.Module, initial: Initial, where: str) -> None:
    moving = moving_parameters(module, "all")
    same = all(
        name in initial.tensors and torch.equal(initial.tensors[name], value.detach())
        for name, value in moving.items()
    )
    if same:
        raise ModelError(
            f"{where}: holds the trained weights themselves; expected those from before training"
        )

"""Load a trained model: the user's own factory, and weights that are never unpickled."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dataaudit.errors import ConfigError, ModelError

_DEEPEST_PREFIX = 3
_TORCH_ENDINGS = {".pt", ".pth", ".bin", ".ckpt"}


def load_function(reference: str, folder: Path, key: str) -> Callable[..., Any]:
    """Import `module:function`, preferring a module file in `folder`.

    This runs the user's own code. `folder` stays on the import path, because that code may
    import its neighbours later.

    Raises
    ------
    ConfigError
        There is no such module or function, or importing it fails; `key` names the yaml key.
    """
    module_name, _, function_name = reference.partition(":")
    file = folder / (module_name.replace(".", "/") + ".py")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        loaded = sys.modules.get(module_name)
        if file.is_file() and getattr(loaded, "__file__", None) != str(file):
            # A module of that name from another audit's folder must not be taken for this one.
            sys.modules.pop(module_name, None)
            importlib.invalidate_caches()
            module = _import_file(module_name, file)
        else:
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name.partition(".")[0]:
            raise ConfigError(
                f"{key}: {reference}: there is no {file.name} in {folder}, "
                f"and no importable module {module_name}"
            ) from None
        raise ConfigError(f"{key}: {reference}: importing it failed: {error}") from error
    except Exception as error:
        raise ConfigError(
            f"{key}: {reference}: importing it failed: {type(error).__name__}: {error}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(
            f"{key}: {reference}: module {module_name} has no function {function_name}"
        )
    return function


def _import_file(name: str, file: Path) -> Any:
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def build(factory: Callable[..., Any], reference: str) -> Any:
    """Call the factory.

    Raises
    ------
    ModelError
        It fails.
    """
    try:
        return factory()
    except Exception as error:
        raise ModelError(
            f"model.factory: {reference}() failed: {type(error).__name__}: {error}"
        ) from error


def load_weights(module: nn.Module, path: Path) -> None:
    """Load weights into `module`, in place; every parameter and buffer must be matched.

    Parameters
    ----------
    module : torch.nn.Module
    path : Path
        `.safetensors`, or a torch file (.pt, .pth, .bin, .ckpt) that holds only plain tensors:
        a state dict, or a checkpoint with a `state_dict`, as Lightning writes it. Where the module
        was part of a larger one (`model.`, `module.`, `_orig_mod.`), the names that stand under
        the only prefix that fits are taken, and the rest of the file is left.

    Raises
    ------
    ModelError
        The file is missing, damaged, holds pickled objects, or does not fit the module.
    """
    expected = module.state_dict()
    state = _of_the_module(read_state(path, "model.weights"), expected, path)
    wrong_shapes = [
        f"{name}: file {tuple(state[name].shape)}, model {tuple(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    missing = _missing_names(expected, state)
    unexpected = [name for name in state if name not in expected]
    problems = [
        f"{title}: {_some(names)}"
        for title, names in (
            ("missing in the file", missing),
            ("not in the model", unexpected),
            ("of another shape", wrong_shapes),
        )
        if names
    ]
    if problems:
        raise ModelError(f"{path}: the weights do not fit the model; {'; '.join(problems)}")
    module.load_state_dict(state, strict=False)


def read_state(path: Path, key: str) -> dict[str, Tensor]:
    """Return the tensors in a file of weights, by name; nothing in it is unpickled.

    Raises
    ------
    ModelError
        The file is missing, damaged, or holds pickled objects; `key` names the yaml key.
    """
    if not path.is_file():
        raise ModelError(f"{key}: {path}: there is no such file")
    ending = path.suffix.lower()
    try:
        if ending == ".safetensors":
            return load_file(path)
        if ending not in _TORCH_ENDINGS:
            raise ModelError(
                f"{path}: unknown kind of weights; expected .safetensors or one of "
                f"{', '.join(sorted(_TORCH_ENDINGS))}"
            )
        _refuse_compressed(path)
        # Written out, because an environment variable can flip torch's default.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+) was not", str(error))
        named = f" ({found[1]}, perhaps among hyperparameters)" if found else ""
        raise ModelError(
            f"{path}: holds pickled objects{named}, which could run code when loaded, or is "
            "damaged; expected plain tensors, as torch.save(model.state_dict(), ...) writes them"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError,
            zipfile.BadZipFile) as error:  # fmt: skip
        raise ModelError(f"{path}: cannot be read as weights: {error}") from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ModelError(f"{path}: expected a mapping of names to tensors (a state dict)")
    return dict(content)


def _of_the_module(
    state: dict[str, Tensor], expected: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Return the part of a larger state that is the module's, under its names in the module."""
    if any(name in expected for name in state):
        return state
    parts = [name.split(".") for name in state]
    prefixes = {
        "".join(f"{part}." for part in name[:depth])
        for name in parts
        for depth in range(1, min(len(name), _DEEPEST_PREFIX + 1))
    }
    fitting = {}
    for prefix in sorted(prefixes):
        own = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        known = all(name in expected and value.shape == expected[name].shape
                    for name, value in own.items())  # fmt: skip
        if known and not _missing_names(expected, own):
            fitting[prefix] = own
    if len(fitting) > 1:
        raise ModelError(
            f"{path}: the weights fit the model under several prefixes ({', '.join(fitting)}); "
            "save those that are meant under the model's own names"
        )
    return next(iter(fitting.values()), state)


def _refuse_compressed(path: Path) -> None:
    """Refuse a torch file whose members are compressed: a small one could fill the memory.

    torch itself never compresses, so that the members of its files take what they say.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        size = path.stat().st_size
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > size:
                raise ModelError(
                    f"{path}: its member {member.filename} is compressed ({member.file_size} bytes "
                    "when unpacked); expected a file as torch.save writes it"
                )


def _missing_names(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    # Tied tensors appear under two names in the module and may stand once in the file.
    loaded = {expected[name].data_ptr() for name in expected if name in state}
    return [
        name
        for name, tensor in expected.items()
        if name not in state and not (tensor.numel() and tensor.data_ptr() in loaded)
    ]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"

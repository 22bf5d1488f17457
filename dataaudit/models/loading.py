"""Load a trained model: the user's own factory, and weights that are never unpickled."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import re
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dataaudit.errors import ConfigError, ModelError
from dataaudit.models.wrappers import unwrapped

_DEEPEST_PREFIX = 3
_USUAL_KEYS = ("model_state_dict", "state_dict", "model", "module", "net", "network", "weights")
"""Of the state dict in a checkpoint, in this order where there are several."""
_DEEPEST_KEY = 2
_COMPILED = "_orig_mod."
_TORCH_ENDINGS = {".pt", ".pth", ".bin", ".ckpt"}

_folders: set[Path] = set()
"""Folders whose code this process has imported: one for each audit."""


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
    _look_first_in(folder)
    try:
        loaded = sys.modules.get(module_name)
        if file.is_file() and getattr(loaded, "__file__", None) != str(file):
            # A module of that name from another audit's folder must not be taken for this one.
            sys.modules.pop(module_name, None)
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


def modules_of_audits() -> list[ModuleType]:
    """Return the modules that lie in the folders of this process's audits: the user's own."""
    folders = [f"{folder}{os.sep}" for folder in _folders]
    return [
        module
        for name, module in list(sys.modules.items())
        if getattr(module, "__name__", None) == name
        and (getattr(module, "__file__", None) or "").startswith(tuple(folders))
    ]


def _look_first_in(folder: Path) -> None:
    """Let code of `folder` import its own neighbours, though another audit's have their names.

    A process may audit several folders one after the other. What the earlier ones imported stays
    in `sys.modules`, where it would be taken for a file of the same name in this folder.
    """
    folder = folder.absolute()
    others = {str(other) for other in _folders - {folder}}
    for name, module in list(sys.modules.items()) if others else ():
        file = getattr(module, "__file__", None) or ""
        stem = file.removesuffix(".py").removesuffix(f"{os.sep}__init__")
        path, first = os.sep + name.replace(".", os.sep), name.partition(".")[0]
        if not stem.endswith(path) or stem.removesuffix(path) not in others:
            continue
        if (folder / f"{first}.py").is_file() or (folder / first).is_dir():
            del sys.modules[name]
    _folders.add(folder)
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


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


def refuse_half_made(module: nn.Module) -> None:
    """Raise a `ModelError` where a module cannot even name its weights."""
    try:
        module.state_dict()
    except Exception as error:
        raise ModelError(
            f"model: the weights of {type(module).__name__} cannot be read: "
            f"{type(error).__name__}: {error}; does its __init__ begin with super().__init__()?"
        ) from error


def load_weights(module: nn.Module, path: Path) -> None:
    """Load weights into `module`, in place; every parameter and buffer must be matched.

    Parameters
    ----------
    module : torch.nn.Module
    path : Path
        `.safetensors`, or a torch file (.pt, .pth, .bin, .ckpt) that holds only plain tensors:
        a state dict, or a checkpoint that has one under some key: `state_dict` as Lightning writes
        it, `model_state_dict`, `model`. Where the module was part of a larger one (`model.`), or
        was wrapped (`module.`, `_orig_mod.`), the names that stand under the only prefix that fits
        are taken, and the rest of the file is left.

    Raises
    ------
    ModelError
        The file is missing, damaged, holds pickled objects, or does not fit the module.
    """
    refuse_half_made(module)
    module = unwrapped(module)
    expected = module.state_dict()
    state = _of_the_module(read_state(path, "model.weights", expected), expected, path)
    wrong_shapes = [
        f"{name}: file {tuple(state[name].shape)}, model {tuple(expected[name].shape)}"
        for name in expected
        if name in state and not _has_shape(state[name], expected[name])
    ]
    missing = _missing_names(expected, state)
    unexpected = [name for name in state if name not in expected]
    problems = [
        f"{title}: {some(names)}"
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


def read_state(
    path: Path, key: str, expected: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the tensors in a file of weights, by name; nothing in it is unpickled.

    Of several state dicts in a checkpoint, the one is taken that has names of `expected`, and of
    those the one under the most usual key.

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
        with warnings.catch_warnings():
            # Of the pickle's protocol: what torch cannot read is refused below.
            warnings.simplefilter("ignore")
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
    states = dict(_state_dicts(content))
    if not states:
        raise ModelError(
            f"{path}: expected a mapping of names to tensors (a state dict), or a checkpoint that "
            f"has one under a key; found {_described(content)}"
        )
    if expected is not None:
        fitting = {k: state for k, state in states.items() if _names_in_common(state, expected)}
        states = fitting or states
    first = next(iter(states))
    if len(states) > 1 and first not in _USUAL_KEYS:
        raise ModelError(
            f"{path}: holds several state dicts, under {some(list(states))}, and which one is "
            "meant cannot be told; save the model's own, torch.save(model.state_dict(), ...)"
        )
    return states[first]


def _state_dicts(content: Any, key: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the state dicts in what a file holds with their keys, those of usual keys first."""
    if not isinstance(content, Mapping) or key.count(".") >= _DEEPEST_KEY:
        return
    if content and all(isinstance(value, Tensor) for value in content.values()):
        yield key, {str(name): value for name, value in content.items()}
        return
    usual = [name for name in _USUAL_KEYS if name in content]
    for name in (*usual, *(name for name in content if name not in usual)):
        yield from _state_dicts(content[name], f"{key}.{name}" if key else str(name))


def _names_in_common(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Tell whether a name of the state, perhaps without a prefix, is one of the module's."""
    return any(
        ".".join(parts[depth:]) in expected
        for parts in (name.replace(_COMPILED, "").split(".") for name in state)
        for depth in range(min(len(parts), _DEEPEST_PREFIX + 1))
    )


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return f"the keys {some([str(key) for key in content])}" if content else "an empty mapping"


def _has_shape(value: Tensor, expected: Tensor) -> bool:
    # A lazy layer takes the shape of the weights that are loaded into it.
    return _is_lazy(expected) or value.shape == expected.shape


def _is_lazy(tensor: Tensor) -> bool:
    return isinstance(
        tensor, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer
    )


def _of_the_module(
    state: dict[str, Tensor], expected: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Return the part of a larger state that is the module's, under its names in the module."""
    if any(_COMPILED in name and name not in expected for name in state):
        # torch.compile puts its own name into those of the parts that it compiled.
        state = {name.replace(_COMPILED, ""): value for name, value in state.items()}
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
        known = all(name in expected and _has_shape(value, expected[name])
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
    with path.open("rb") as file:
        # As torch tells: Python looks at the end, where a comment may hide what torch finds.
        if file.read(4) != b"PK\x03\x04":
            return
    if not _has_one_directory(path):
        raise ModelError(
            f"{path}: its list of members is not where a file as torch.save writes it has it, so "
            "that two readers may find two lists"
        )
    with zipfile.ZipFile(path) as archive:
        size = path.stat().st_size
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > size:
                raise ModelError(
                    f"{path}: its member {member.filename} is compressed ({member.file_size} bytes "
                    "when unpacked); expected a file as torch.save writes it"
                )


def _has_one_directory(path: Path) -> bool:
    """Tell whether a zip file ends with its one list of members, and nothing stands after that."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(-22, 2)
        end = file.read(22)
        length, start = struct.unpack("<II", end[12:20])
        stop = size - 22
        file.seek(max(0, stop - 20))
        locator = file.read(20)
        if locator[:4] == b"PK\x06\x07":
            # A list in 64 bits has a record of its own between the list and its end.
            (stop,) = struct.unpack("<Q", locator[8:16])
            file.seek(stop)
            record = file.read(56)
            if record[:4] != b"PK\x06\x06" or stop + len(record) != size - 42:
                return False
            wide = struct.unpack("<QQ", record[40:56])
            narrow = (length, start)
            if any(a not in (b, 2**32 - 1) for a, b in zip(narrow, wide, strict=True)):
                return False
            length, start = wide
    return end[:4] == b"PK\x05\x06" and end[20:] == b"\0\0" and start + length == stop


def _missing_names(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    # Tied tensors appear under two names in the module and may stand once in the file.
    whole = {name: tensor for name, tensor in expected.items() if not _is_lazy(tensor)}
    loaded = {tensor.data_ptr() for name, tensor in whole.items() if name in state}
    return [
        name
        for name in expected
        if name not in state
        and not (name in whole and whole[name].numel() and whole[name].data_ptr() in loaded)
    ]


def some(names: Sequence[str]) -> str:
    """Return names in words, the first five of many."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"

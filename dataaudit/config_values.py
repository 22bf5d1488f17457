"""Values that somebody wrote, before they mean anything: bounded, finite, encodable, each key once.

A YAML file may name a piece once and repeat it by aliases, and aliases of aliases grow without
bound; so what they stand for is counted before anything is made of it.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dataaudit.errors import ConfigError

MOST_VALUES = 100_000
"""In one file, with all that its aliases stand for."""
DEEPEST = 50
LONGEST_NAME = 255
"""Bytes in the name of a file or folder, as file systems have it."""
MOST_PIXELS = 64_000_000
"""An image of more is refused: 8,000 by 8,000 pixels is beyond what any classifier is fed."""


def read_yaml(path: Path, text: str) -> Any:
    """Return what a YAML text holds.

    Raises
    ------
    ConfigError
        It is no YAML, has a key twice, aliases that stand for too much, or a value that cannot be
        used: a number that is not finite or of more than 64 bits, text that UTF-8 cannot hold.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return None
        _bounded(node, {}, path)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:300]
        raise ConfigError(f"{path}: not valid YAML: {said or type(error).__name__}") from None
    refuse_unusable(content, path)
    return content


def refuse_unusable(content: Any, where: Path | str) -> None:
    """Raise a `ConfigError` that names the key of a value which nothing can be done with."""
    problem = _problem(content, "", 0)
    if problem is not None:
        raise ConfigError(f"{where}: {problem}")


def refuse_no_number(name: str, value: Any, *, whole: bool) -> None:
    """Raise a `ConfigError` where a setting given from Python is no number, or no whole one."""
    kind = numbers.Integral if whole else numbers.Real
    if not isinstance(value, kind) or isinstance(value, bool):
        expected = "a whole number" if whole else "a number"
        raise ConfigError(f"{name}: found {value!r}, expected {expected}")


def _problem(value: Any, key: str, depth: int) -> str | None:
    """Return what is wrong with a value or one inside it."""
    what = key or "(top level)"
    if depth > DEEPEST:
        return f"{_shown(what)}: is nested more than {DEEPEST} deep"
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            return f"{_shown(what)}: found {half}, half of a character; expected text in UTF-8"
        return f"{_shown(what)}: found a NUL in a text" if "\0" in value else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return f"{_shown(what)}: found a whole number of more than 64 bits"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{_shown(what)}: found {value}; expected a finite number"
    inside: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        for name, item in value.items():
            if (problem := _problem(name, f"a key of {what}", depth + 1)) is not None:
                return problem
            inside.append((f"{key}.{name}" if key else str(name), item))
    elif isinstance(value, list | tuple):
        inside = [(f"{key}.{place}", item) for place, item in enumerate(value)]
    for name, item in inside:
        if (problem := _problem(item, name, depth + 1)) is not None:
            return problem
    return None


def _bounded(node: yaml.Node, sizes: dict[int, int], path: Path, depth: int = 0) -> int:
    """Return how many values a node stands for, all aliases written out; refuse too many."""
    if id(node) in sizes:
        if sizes[id(node)] < 0:
            raise ConfigError(f"{path}: {_line(node)}: an alias stands for what it is part of")
        return sizes[id(node)]
    if depth > DEEPEST:
        raise ConfigError(f"{path}: {_line(node)}: is nested more than {DEEPEST} deep")
    sizes[id(node)] = -1
    size = 1
    if isinstance(node, yaml.MappingNode):
        seen: set[tuple[str, str]] = set()
        for name, item in node.value:
            size += _bounded(name, sizes, path, depth + 1)
            size += _bounded(item, sizes, path, depth + 1)
            if isinstance(name, yaml.ScalarNode):
                if (name.tag, name.value) in seen:
                    raise ConfigError(
                        f"{path}: {_line(name)}: the key {_shown(name.value)} is given twice"
                    )
                seen.add((name.tag, name.value))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            size += _bounded(item, sizes, path, depth + 1)
    if size > MOST_VALUES:
        raise ConfigError(
            f"{path}: {_line(node)}: stands for more than {MOST_VALUES:,} values, all aliases "
            "written out"
        )
    sizes[id(node)] = size
    return size


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _shown(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= 80 else f"{text[:79]}…"

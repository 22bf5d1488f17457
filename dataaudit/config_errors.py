"""What is wrong with settings, in words that name the key, the value and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from dataaudit.errors import ConfigError
from dataaudit.inert import one_line

LONGEST_KEY = 80
LONGEST_LINE = 400
LONGEST_LIST = 1700
"""Characters that bad settings are told in; of the rest, how many they are."""


def explained(where: Path | str, error: ValidationError, settings: type[BaseModel]) -> str:
    """Return a message with a line for each bad setting: its key, what was found and expected.

    Parameters
    ----------
    where : Path or str
        The file, or the function, that the settings were given to.
    error : pydantic.ValidationError
    settings : type of BaseModel
        What they were to fit; its keys are proposed for unknown ones.
    """
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"]) or "(top level)"
        key = key if len(key) <= LONGEST_KEY else f"{key[: LONGEST_KEY - 1]}…"
        lines.append(f"  {key}: {_explain(problem, settings)}")
    # A union reports each of its members; the same line twice helps nobody.
    return _listed(where, list(dict.fromkeys(lines)))


def refuse_unread(where: Path | str, given: BaseModel, read: Collection[str], reader: str) -> None:
    """Refuse settings that somebody gave and nobody would look at.

    A setting that is what it would be anyway is none.

    Parameters
    ----------
    where : Path or str
        The file, or the function, that the settings were given to.
    given : BaseModel
    read : collection of str
        The sections ("mirror") and keys ("mirror.seed") that are read.
    reader : str
        Who reads them, for the message: "dataaudit verify".

    Raises
    ------
    ConfigError
        Settings were given that are not read; each is named.
    """
    unread = [
        key
        for key in changed(given)
        if not any(key == each or key.startswith(f"{each}.") for each in read)
    ]
    if unread:
        lines = [f"  {key}: is not read by {reader}; leave it out" for key in unread]
        raise ConfigError(_listed(where, lines))


def changed(settings: BaseModel, prefix: str = "") -> Iterator[str]:
    """Yield the keys that somebody gave another value than they have anyway."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        default = field.get_default(call_default_factory=True)
        if name not in settings.model_fields_set or value == default:
            continue
        if isinstance(value, BaseModel):
            yield from changed(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _listed(where: Path | str, lines: list[str]) -> str:
    shown = [f"{where}:"]
    for place, line in enumerate(lines):
        # A key may hold the end of a line, and forge the next.
        line = one_line(line)
        line = line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"
        if sum(map(len, shown)) + len(line) > LONGEST_LIST:
            return "\n".join([*shown, f"  and {len(lines) - place:,} more"])
        shown.append(line)
    return "\n".join(shown)


def _explain(problem: Any, settings: type[BaseModel]) -> str:
    kind, found = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        known = _known_keys(problem["loc"][:-1], settings)
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; expected one of {', '.join(known)}"
        return f"unknown key{hint}"
    if kind == "missing":
        return "this key is required"
    if kind == "string_pattern_mismatch":
        return f"found {_short(found)}, expected module:function, for example my_model:build"
    if kind == "value_error":
        return f"found {_short(found)}: {problem['ctx']['error']}"
    message = problem["msg"]
    return f"found {_short(found)}: {message[:1].lower()}{message[1:]}"


def _known_keys(location: tuple[Any, ...], settings: type[BaseModel]) -> list[str]:
    section: Any = settings
    for part in [name for name in location if isinstance(name, str)]:
        annotation = section.model_fields[part].annotation
        options = [annotation, *_inside(annotation)]
        section = next(
            option
            for option in options
            if isinstance(option, type) and issubclass(option, BaseModel)
        )
    return list(section.model_fields)


def _inside(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation is made of, such as those of a list's items."""
    for option in getattr(annotation, "__args__", ()):
        yield option
        yield from _inside(option)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

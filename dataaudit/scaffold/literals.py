"""Names from files, made harmless for where they go: Python code, YAML, comments."""

from __future__ import annotations

import json
from typing import Any

import yaml

from dataaudit.config import AuditConfig
from dataaudit.errors import DataError
from dataaudit.inert import one_line


def scalar(value: Any) -> str:
    """Return a value as YAML on one line, quoted where it has to be."""
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False
    )
    text = str(text).removesuffix("...\n").strip()
    if all(map(str.isprintable, text)):
        return text
    # A line end in a name: JSON is YAML, and says it by an escape.
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def literal(value: Any) -> str:
    """Return a value as Python code on one line."""
    return ascii(value) if not repr(value).isprintable() else repr(value)


def comment(text: str) -> str:
    """Return a text that ends no comment, on one line."""
    return one_line(text)


def checked_yaml(text: str, name: str) -> str:
    """Return the text of an `audit.yaml`, once it is sure that it reads as one.

    Raises
    ------
    DataError
        A name in it makes it something else.
    """
    try:
        content = yaml.safe_load(text)
        AuditConfig.model_validate(content)
    except ValueError as error:
        raise _odd_names(name, error) from None
    except yaml.YAMLError as error:
        raise _odd_names(name, error) from None
    return text


def checked_python(text: str, name: str) -> str:
    """Return the text of a module, once it is sure that it is one.

    Raises
    ------
    DataError
        A name in it makes it something else.
    """
    try:
        compile(text, name, "exec")
    except (SyntaxError, ValueError) as error:
        raise _odd_names(name, error) from None
    return text


def _odd_names(name: str, error: Exception) -> DataError:
    said = " ".join(str(error).split())[:200]
    return DataError(
        f"{name}: cannot be written with the names in the data ({said}); rename the "
        "files, columns or classes, or write it by hand"
    )


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

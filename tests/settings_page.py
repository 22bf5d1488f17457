"""`docs/settings.md`: every key of `audit.yaml`, from the models that read them.

python tests/settings_page.py > docs/settings.md
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dataaudit.about import NOT_PROVIDED, About
from dataaudit.config import AuditConfig

HEAD = """# Settings: every key of `audit.yaml`

Only `train` is needed, and `model` by all that needs one; the rest has a default that works.
From Python, the same keys are arguments: `dataaudit.audit(..., flags={"budget": 200})`. Each
command refuses keys that it would not read.
"""


def settings_page() -> str:
    """Return the page as text."""
    parts = [HEAD, *_table(AuditConfig)]
    for key, section in _sections(AuditConfig):
        introduction = (inspect.getdoc(section) or "").replace("\n", " ")
        parts += [f"\n## `{key}`\n", f"{introduction}\n", *_table(section)]
    return "\n".join(parts) + "\n"


def keys(section: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield every key below a section, dotted."""
    for name, field in section.model_fields.items():
        yield f"{before}{name}"
        for inner in _models_in(field.annotation):
            yield from keys(inner, f"{before}{name}.")


def _sections(section: type[BaseModel], before: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    seen = set()
    for name, field in section.model_fields.items():
        for inner in _models_in(field.annotation):
            # held_out and suspects have the keys of train.
            if inner not in seen:
                seen.add(inner)
                yield f"{before}{name}", inner
                yield from _sections(inner, f"{before}{name}.")


def _table(section: type[BaseModel]) -> list[str]:
    said = _docstrings(section)
    lines = ["| key | default | what it is |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        words = [said.get(name, ""), _choices(field.annotation)]
        what = " ".join(word for word in words if word).replace("|", "\\|")
        lines.append(f"| `{name}` | {_default(field)} | {what} |")
    return lines


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None:
        return ""
    if value == NOT_PROVIDED:
        return NOT_PROVIDED
    if isinstance(value, BaseModel):
        return "see below"
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{shown}`".replace("|", "\\|")


def _choices(annotation: Any) -> str:
    for part in _parts(annotation):
        if get_origin(part) is Literal:
            return "One of " + ", ".join(f"`{choice}`" for choice in get_args(part)) + "."
    return ""


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    parts = _parts(annotation)
    return [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]


def _parts(annotation: Any) -> list[Any]:
    """Return what a union, or an annotated type, is made of."""
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        inside = [part for part in get_args(annotation) if part is not NoneType]
        return [deeper for part in inside for deeper in _parts(part)]
    return [annotation]


def _docstrings(section: type[BaseModel]) -> dict[str, str]:
    """Return the text below each key in the source; `About` speaks for itself."""
    if section is About:
        return {name: f"{name.replace('_', ' ')}, in words" for name in About.model_fields}
    (tree,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(below.value.value).split())
    for name, field_info in section.model_fields.items():
        for inner in _models_in(field_info.annotation):
            summary = (inspect.getdoc(inner) or "").partition("\n")[0]
            found.setdefault(name, summary)
    return found


if __name__ == "__main__":
    print(settings_page(), end="")

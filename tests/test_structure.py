"""The structure holds: few modules at the root, rooms on floors, no circle, kinds asked in a table.

A check of its own over `ast`, and not import-linter: what is asked fits a page, needs no further
package in every contributor's environment and CI, and the same parsed files also tell where the
kind of label is asked for, which no import linter can. Imports inside functions count like those
at the top: they hide a cost, not a dependency.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dataaudit.config import GENERATIVE
from dataaudit.flags.by_kind import FLAGGERS
from dataaudit.labels.by_task import KINDS
from dataaudit.tasks.by_kind import MAKERS

PACKAGE = Path(__file__).resolve().parent.parent / "dataaudit"

FLOORS = [
    {"errors", "inert", "progress", "resources", "about"},
    {"labels", "config_errors", "config_values", "storage"},
    {"config"},
    {"datasets", "tasks"},
    {"flags", "models"},
    {"inputs", "report"},
    {"likeness", "run_directory"},
    {"scoring", "checks"},
    {"mirror"},
    {"stages"},
    {"studies", "review", "scaffold"},
    {"dataaudit"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
"""The rooms and the modules at the root, the lowest first; `dataaudit` is the package's own
`__init__`. A room may import from the floors below it, and from itself."""

MOST_AT_THE_ROOT = 12
MOST_PLACES = 5
KIND_ROOMS = {"labels", "tasks", "flags"}
"""Where the kind of label may be asked for."""


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name, parsed."""
    parsed = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        parsed[name] = ast.parse(path.read_text(encoding="utf-8"))
    return parsed


def imports(name: str) -> set[str]:
    """Return the modules of the package that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from room import module` names the module, not the room.
            found |= {module for module in inside if module in modules()} or {node.module}
    return {module for module in found if module in modules()} - {name}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def floor(module: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(module) in rooms)


def test_the_root_has_few_modules() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_AT_THE_ROOT


def test_every_room_has_its_floor_and_every_floor_its_rooms() -> None:
    assert {room(module) for module in modules()} == set().union(*FLOORS)


def test_no_import_runs_from_a_lower_floor_to_a_higher_one() -> None:
    upward = [
        f"{module} imports {other}"
        for module in modules()
        for other in imports(module)
        if room(module) != room(other) and floor(module) <= floor(other)
    ]
    assert upward == []


def test_no_circle_of_modules() -> None:
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> None:
        assert module not in path, " imports ".join([*path[path.index(module) :], module])
        if module in done:
            return
        path.append(module)
        for other in sorted(imports(module)):
            visit(other)
        path.pop()
        done.add(module)

    for module in modules():
        visit(module)


ROOMS_THAT_RUN_MODELS = {"scoring", "mirror", "stages", "studies"}
RUNNING = {
    "scoring.passes": {"forward", "Swapper"},
    # Steps, which take gradients.
    "mirror.finite": {"forward"},
    "mirror.unlearning": {"forward"},
    "studies.tracing.denoising": {"functional_call"},
    # First-order changes are derivatives, not passes of a perturbed model.
    "studies.influence.linear": {"forward", "functional_call", "Swapper"},
    # Of the trained model alone: whether inputs fit, how good it is, what a pass costs.
    "mirror.augmentation": {"forward"},
    "mirror.effort": {"forward"},
    "stages.loading": {"forward"},
    "stages.model_check": {"forward"},
    "stages.reading_outputs": {"called", "forward"},
}
"""All that runs a model, and why it is no second loop over rows under perturbed models."""


def test_one_loop_runs_rows_under_perturbed_models() -> None:
    tools = {"forward", "called", "functional_call", "Swapper"}
    found = {
        module.removeprefix("dataaudit."): used
        for module, tree in modules().items()
        if room(module) in ROOMS_THAT_RUN_MODELS
        and (used := tools & {name for node in ast.walk(tree) for name in _imported(node)})
    }
    assert found == RUNNING


def _imported(node: ast.AST) -> set[str]:
    return {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()


def test_every_kind_of_label_stands_in_all_three_tables() -> None:
    labelled = set(KINDS) - set(GENERATIVE)
    assert labelled == set(MAKERS) == set(FLAGGERS)


def test_the_kind_of_label_is_asked_for_in_few_other_places() -> None:
    places = [
        f"{module} line {line}"
        for module, tree in modules().items()
        if room(module) not in KIND_ROOMS
        for line in questions(tree)
    ]
    assert len(places) <= MOST_PLACES, "\n".join(places)


def test_what_counts_as_a_question() -> None:
    asked = [
        'task == "regression"',
        'config.task not in ("classification", "regression")',
        "isinstance(task, MultiLabel)",
        "isinstance(task, tasks.Regression | tasks.Classification)",
        "samples.tagged",
        "len(samples.classes) == 0",
        "1 if len(samples.classes) else 2",
        "1 if samples.classes else 2",
        "samples.labels.ndim == 2",
        "queries.labels.is_floating_point()",
    ]
    assert [len(set(questions(ast.parse(text)))) for text in asked] == [1] * len(asked)
    other = ["KINDS[task].shown", "isinstance(x, str)", "len(samples.classes) > 3", "ndim == 2"]
    assert [list(questions(ast.parse(text))) for text in other] == [[]] * len(other)


def questions(tree: ast.Module) -> Iterator[int]:
    """Yield the lines on which a module asks which kind of label it has."""
    tasks = {
        "Classification",
        "MultiLabel",
        "OrdinalClassification",
        "Regression",
        "TokenClassification",
    }
    for node in ast.walk(tree):
        asks = False
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asks = any(
                _texts(side) & (set(KINDS) - set(GENERATIVE)) or _is_dimensions(side)
                for side in sides
            ) or (
                any(_is_number_of_classes(side) for side in sides)
                and any(isinstance(side, ast.Constant) and side.value == 0 for side in sides)
            )
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            asks = node.func.id == "isinstance" and bool(_names(node.args[1]) & tasks)
        elif isinstance(node, ast.Attribute):
            asks = node.attr == "tagged" or (
                node.attr == "is_floating_point" and _is_attribute(node.value, "labels")
            )
        elif isinstance(node, ast.If | ast.IfExp):
            asks = _is_number_of_classes(node.test) or _is_attribute(
                node.test, "classes", of={"train", "held_out", "suspects", "samples", "rows"}
            )
        if asks:
            yield node.lineno


def _texts(node: ast.expr) -> set[str]:
    return {
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def _names(node: ast.expr) -> set[str]:
    parts = list(ast.walk(node))
    return {part.id for part in parts if isinstance(part, ast.Name)} | {
        part.attr for part in parts if isinstance(part, ast.Attribute)
    }


def _is_attribute(node: ast.expr, name: str, of: set[str] | None = None) -> bool:
    if not isinstance(node, ast.Attribute) or node.attr != name:
        return False
    return of is None or bool(_names(node.value) & of)


def _is_dimensions(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "ndim"
        and (_is_attribute(node.value, "labels"))
    )


def _is_number_of_classes(node: ast.expr) -> bool:
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return (
        called
        and node.func.id == "len"
        and len(node.args) == 1
        and _is_attribute(node.args[0], "classes")
    )


def test_the_architecture_page_names_files_that_exist_and_the_floors_as_they_are() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    tasks = text.partition("## Ten tasks")[2]
    opened = re.findall(r"\| `(dataaudit/[\w/.]+)` \|", tasks)
    assert len(opened) == 10
    named = set(re.findall(r"`((?:dataaudit|tests)/[\w/.]+)`", text))
    assert set(opened) <= named
    assert [path for path in sorted(named) if not (PACKAGE.parent / path).exists()] == []
    lines = re.findall(r"^\| (\d+) \| ([^|]+) \|", text, flags=re.MULTILINE)
    shown = {int(number): set(re.findall(r"`([\w/.]+)`", rooms)) for number, rooms in lines}
    expected = dict(enumerate(FLOORS, start=1)) | {12: {"dataaudit/__init__.py"}}
    assert shown == expected

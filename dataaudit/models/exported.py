"""Programs of `torch.export` (`.pt2`) as modules: models that need no code of the user's.

A program is a fixed graph: it was made in eval mode or in train mode and cannot be switched, so
that batch norm keeps its running statistics and there is no dropout, whatever the mirror asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from dataaudit.errors import ConfigError, ModelError

_TRAINING_FLAG = {"dropout": 2, "feature_dropout": 2, "alpha_dropout": 2, "batch_norm": 5,
                  "native_dropout": 2, "rrelu": 3}  # fmt: skip
"""Operators that know whether they train, and the place of that argument."""


class ExportedModule(nn.Module):
    """A graph as a module that stays in its mode, because a graph refuses to change it."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph
        self.training = False

    def train(self, mode: bool = True) -> ExportedModule:
        """Return the module as it is."""
        return self

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Run the graph."""
        return self.graph(*arguments, **named)


def load_program(path: Path, *, trusted: bool) -> nn.Module:
    """Load a `.pt2` file as a module.

    Parameters
    ----------
    path : Path
    trusted : bool
        Whether the user vouches for the file. Reading one can run code that is hidden in it: torch
        unpickles some of its members, and evaluates the text of its symbolic sizes.

    Raises
    ------
    ConfigError
        The user does not vouch for it.
    ModelError
        It cannot be read, or not be mirrored (see `module_of`).
    """
    if not trusted:
        raise ConfigError(
            f"model.path: {path}: reading a .pt2 can run code that is hidden in it; if you or "
            "somebody you trust made it, write `model: {path: ..., trusted: true}`, and else let a "
            "model.factory build the module and name its weights"
        )
    try:
        program = torch.export.load(path)
    except Exception as error:
        # torch's reader fails in as many ways as there are damages.
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model.path: {path}: cannot be read as a torch.export program: "
            f"{type(error).__name__}: {reason}"
        ) from error
    return module_of(program, f"model.path: {path}")


def module_of(program: ExportedProgram, where: str) -> nn.Module:
    """Return a program as a module whose parameters can be perturbed.

    Raises
    ------
    ModelError
        It takes batches of one size only, or was exported in train mode.
    """
    fixed = _fixed_batch(program)
    if fixed is not None:
        name, size = fixed
        raise ModelError(
            f"{where}: its input {name} takes batches of exactly {size} rows; export it with a "
            "dynamic first dimension: torch.export.export(model.eval(), inputs, dynamic_shapes="
            '({0: torch.export.Dim("rows")},))'
        )
    training = _training_operator(program)
    if training is not None:
        raise ModelError(
            f"{where}: was exported in train mode ({training} is active), so that its outputs are "
            "random or depend on the batch; export model.eval()"
        )
    graph = program.module()
    _tie(graph)
    return ExportedModule(graph)


def _fixed_batch(program: ExportedProgram) -> tuple[str, int] | None:
    inputs = {
        spec.arg.name
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.USER_INPUT
    }
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in inputs:
            shape: Sequence[Any] = getattr(node.meta.get("val"), "shape", ())
            if len(shape) and isinstance(shape[0], int):
                return node.name, shape[0]
    return None


def _training_operator(program: ExportedProgram) -> str | None:
    for node in program.graph.nodes:
        operator = getattr(getattr(node.target, "overloadpacket", None), "__name__", "")
        place = _TRAINING_FLAG.get(operator)
        if place is not None and len(node.args) > place and node.args[place] is True:
            return operator
    return None


def _tie(graph: nn.Module) -> None:
    """Make parameters that share their memory one again: exporting lists tied ones twice."""
    first: dict[tuple[int, tuple[int, ...]], nn.Parameter] = {}
    for name, parameter in list(graph.named_parameters(remove_duplicate=False)):
        owner, _, attribute = name.rpartition(".")
        known = first.setdefault((parameter.data_ptr(), tuple(parameter.shape)), parameter)
        if known is not parameter and parameter.numel():
            setattr(graph.get_submodule(owner), attribute, known)

"""torch.export programs: the same results as the module, or a reason."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import CommandLine, Project
from safetensors.torch import load_file
from torch import nn

from dataaudit.errors import ConfigError, ModelError
from dataaudit.mirror.finite import FiniteSettings, finite_mirror
from dataaudit.models.exported import load_program, module_of
from dataaudit.tasks import Classification

ROWS = torch.export.Dim("rows")


class Network(nn.Module):
    """Batch norm, dropout, one layer used under two names, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)
        self.first.bias.requires_grad_(False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.second(self.norm(self.first(inputs)).relu())
        result: torch.Tensor = self.head(self.dropout(hidden))
        return result


def saved(path: Path, module: nn.Module, shapes: Any = ({0: ROWS},)) -> Path:
    program = torch.export.export(module, (torch.randn(5, 4),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def network() -> Network:
    torch.manual_seed(0)
    return Network().eval()


def test_a_program_takes_the_very_steps_of_its_module(tmp_path: Path) -> None:
    module = network()
    program = load_program(saved(tmp_path / "model.pt2", module), trusted=True)
    inputs, labels = torch.randn(12, 4), torch.arange(12) % 3
    torch.testing.assert_close(program(inputs), module(inputs))
    settings = FiniteSettings(steps=3, learning_rate=1e-2)
    steps = [[(inputs, labels)]] * 3
    expected = finite_mirror(module, Classification(3), iter(steps), settings)
    found = finite_mirror(program, Classification(3), iter(steps), settings)
    assert set(found.tensors) == {f"graph.{name}" for name in expected.tensors}
    assert "first.weight" in expected.tensors
    assert "first.bias" not in expected.tensors
    for name, value in expected.tensors.items():
        torch.testing.assert_close(found.tensors[f"graph.{name}"], value)
    rows = torch.randn(7, 4)
    torch.testing.assert_close(found.copy_of(program)(rows), expected.copy_of(module)(rows))


def test_what_cannot_be_mirrored_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = saved(tmp_path / "fixed.pt2", network(), shapes=None)
    with pytest.raises(ModelError, match="its input inputs takes batches of exactly 5 rows; exp"):
        load_program(path, trusted=True)
    training = torch.export.export(
        network().train(), (torch.randn(5, 4),), dynamic_shapes=({0: ROWS},)
    )
    with pytest.raises(ModelError, match=r"the program: was exported in train mode \(batch_norm"):
        module_of(training, "the program")


def test_a_file_is_read_only_where_it_is_trusted(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pt2", network())
    with pytest.raises(ConfigError, match=r"can run code that is hidden in it; if you .*trusted"):
        load_program(path, trusted=False)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ModelError, match=r"model\.pt2: cannot be read as a torch\.export program"):
        load_program(path, trusted=True)


def test_an_audit_of_a_program_needs_no_code(project: Project, command_line: CommandLine) -> None:
    module = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    module.load_state_dict(load_file(project.folder / "model.safetensors"))
    program = torch.export.export(module.eval(), (torch.randn(5, 3),), dynamic_shapes=({0: ROWS},))
    torch.export.save(program, project.folder / "model.pt2")
    (project.folder / "fruit_model.py").unlink()
    project.replace(
        "audit.yaml",
        "  factory: fruit_model:build\n  weights: model.safetensors\n"
        "preprocess: fruit_model:preprocess\n",
        "  path: model.pt2\n  trusted: true\n",
    )
    ran = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert (ran.code, ran.err) == (0, "")
    flags = pd.read_parquet(project.folder / "audit" / "mislabels.parquet")
    found = set(flags.loc[flags["flagged"], "row_id"])
    assert len(found & project.mislabeled) >= 0.8 * len(project.mislabeled)

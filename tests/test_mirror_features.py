"""An audit with `mirror: {kind: head}`: the last layer alone learns again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CommandLine, Project
from test_relearn import blobs, loaded, memorized
from torch import nn

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.errors import ConfigError, ModelError
from dataaudit.inputs import Loaded
from dataaudit.mirror.features import seen_from_last_layer
from dataaudit.scoring.choice import make_engine
from dataaudit.scoring.perturbation import Perturbation


def test_the_last_layer_on_stored_vectors_is_the_model(tmp_path: Path) -> None:
    train, held_out = blobs(70, 1)[0], blobs(30, 2)[0]
    whole, config = loaded(memorized(train), train, held_out)
    seen = seen_from_last_layer(whole, tmp_path, batch_size=32)
    assert [name for name, _ in seen.model.module.named_parameters()] == ["weight", "bias"]
    step = torch.randn(3, 256, generator=torch.Generator().manual_seed(0))
    weight = whole.model.module[2].weight.detach() + 0.1 * step
    engine = make_engine(config)

    def scores(audit: Loaded, name: str) -> tuple[np.ndarray, np.ndarray]:
        moved = Perturbation({name: weight})
        (block,) = engine.score(audit.model, audit.task, audit.train, [moved])
        return block.losses, block.features

    for found, expected in zip(scores(seen, "weight"), scores(whole, "2.weight"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert seen.held_out is not None
    assert len(seen.held_out) == 30
    assert seen.suspects is None


def test_an_audit_by_the_head_flags_wrong_labels(
    project: Project, command_line: CommandLine
) -> None:
    project.replace("audit.yaml", "kind: auto", "kind: head")
    out = project.folder / "audit"
    assert command_line("run", project.yaml, "--out", out).code == 0
    assert sorted(entry.name for entry in out.iterdir() if entry.is_dir()) == []
    import pandas as pd

    table = pd.read_parquet(out / "mislabels.parquet").sort_values("rank")
    found = set(table["row_id"].head(40)) & project.mislabeled
    assert len(found) > 25
    written = (out / "audit.json").read_text(encoding="utf-8")
    assert '"mirror": "standard: head (the last linear layer alone), ' in written


@pytest.mark.parametrize(
    ("mirror", "error", "message"),
    [
        ({"kind": "head"}, ModelError, r"the output of 0\.2 is not the model's"),
        ({"effort": "quick"}, ConfigError, r"mirror\.effort: found quick.* the output of 0\.2 is"),
    ],
)
def test_a_model_that_does_not_end_in_a_linear_layer_is_refused(
    mirror: dict[str, str], error: type[Exception], message: str
) -> None:
    train = blobs(60, 1)[0]
    module = nn.Sequential(memorized(train), nn.Tanh())
    with pytest.raises(error, match=message):
        dataaudit.audit(module, train, preprocess=lambda table: torch.tensor(
            table[list("abcdefgh")].to_numpy()), mirror=mirror)  # fmt: skip


def test_a_linear_audit_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="where a first-order change says nothing; use auto"):
        config_from_python("label", None, {"mirror": {"kind": "linear"}})

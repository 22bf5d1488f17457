"""On a GPU the audit says what it says on a CPU; and the benchmark for one runs at all."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dataaudit

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("gpu", None)
    import gpu

    return gpu


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_learning_and_scoring_are_those_of_the_cpu(gpu, device: str) -> None:  # type: ignore[no-untyped-def]
    found = list(gpu.equivalence(device))
    assert len(found) == 2
    for line in found:
        assert str(line).endswith("| yes |")


def test_without_a_gpu_the_benchmark_says_so(gpu, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match="torch sees no GPU; --device cpu --tiny shows"):
        gpu.main()


@needs_gpu
def test_all_that_is_measured_on_a_gpu_runs(gpu) -> None:  # type: ignore[no-untyped-def]
    assert len(list(gpu.lines("cuda", gpu.TINY))) == 19


@needs_gpu
def test_an_audit_on_a_gpu_flags_what_it_flags_on_a_cpu() -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 8))

    def table(rows: int) -> pd.DataFrame:
        labels = generator.integers(3, size=rows)
        values = centres[labels] + 0.5 * generator.normal(size=(rows, 8))
        return pd.DataFrame(values.astype(np.float32)).rename(columns=str).assign(label=labels)

    train, held_out = table(600), table(200)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    inputs = torch.tensor(train.drop(columns="label").to_numpy())
    labels = torch.tensor(train["label"].to_numpy())
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(100):
        loss = nn.functional.cross_entropy(module(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    train.loc[:29, "label"] = (train.loc[:29, "label"] + 1) % 3
    scores = {
        device: dataaudit.audit(
            module.to(device),
            train,
            held_out,
            preprocess=lambda rows: torch.tensor(rows.drop(columns="label").to_numpy()),
            device=device,
        ).mislabels.set_index("row_id")["score"]
        for device in ("cpu", "cuda")
    }
    both = pd.DataFrame(scores)
    assert both.corr(method="spearman").iloc[0, 1] > 0.99

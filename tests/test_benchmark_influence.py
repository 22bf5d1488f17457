"""The mislabel benchmark's influence rivals: signs, and gradients against a hand-made oracle."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
ROWS, QUERIES = 240, 60
RIVALS = [
    "Captum TracInCPFast, self",
    "Captum TracInCPFast, opponents",
    "Captum TracInCP, self",
    "Captum TracInCP, opponents",
    "dattri TRAK",
    "dattri TracIn, self",
    "dattri TracIn, opponents",
    "dattri EK-FAC, last layer",
    "dattri DataInf, last layer",
    "traker TRAK, 512",
    "Kronfluence EK-FAC, self",
    "Kronfluence EK-FAC, opponents",
    "Kronfluence EK-FAC damped, self",
    "Kronfluence EK-FAC damped, opponents",
]


@pytest.fixture(autouse=True)
def _beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    """A network that knows two clouds of points, and every tenth row with the other's label."""
    from mislabel_methods import Workbench
    from mislabel_settings import Problem, Setting, Training

    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = torch.arange(ROWS + QUERIES) % 2
        inputs = torch.randn(ROWS + QUERIES, 4) + 2.0 * labels[:, None]
        module = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        for _ in range(100):
            optimizer.zero_grad()
            functional.cross_entropy(module(inputs), labels).backward()
            optimizer.step()
    given = labels[:ROWS].clone()
    given[::10] = 1 - given[::10]
    problem = Problem(
        Setting("clouds", "flipped", "mlp", QUERIES),
        0,
        pd.DataFrame({"label": given.numpy()}),
        pd.DataFrame({"label": labels[ROWS:].numpy()}),
        labels[:ROWS].numpy(),
        lambda frame: torch.empty(0),
        ["low", "high"],
        inputs[:ROWS],
        inputs[ROWS:],
        (inputs[ROWS:], labels[ROWS:]),
        Training(lambda: module, 1, 1),
    )
    return Workbench(problem, module.eval(), tmp_path)


def scored(bench: Any, name: str) -> np.ndarray:
    from influence_rivals import INFLUENCE_RIVALS, traker_trak
    from mislabel_methods import NotApplicableError
    from mislabel_training import Meter

    # 240 rows are too few for 512 directions; at 100 and fewer traker fails.
    methods = INFLUENCE_RIVALS | {"traker TRAK, 512": partial(traker_trak, dimensions=104)}
    with Meter() as meter:
        try:
            answer = methods[name](bench, meter)
        except NotApplicableError as reason:
            pytest.skip(str(reason))
    assert answer.cost.forward_passes >= 3 * ROWS
    return answer.score


@pytest.mark.parametrize("name", RIVALS)
def test_rows_with_the_other_label_come_first(bench: Any, name: str) -> None:
    score = scored(bench, name)
    assert score.shape == (ROWS,)
    assert roc_auc_score(bench.problem.wrong, score) > 0.9


def gradients(module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    lines = []
    for row, label in zip(inputs, labels, strict=True):
        loss = functional.cross_entropy(module(row[None]), label[None])
        parts = torch.autograd.grad(loss, list(module.parameters()))
        lines.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(lines).double()


@pytest.mark.parametrize("package", ["Captum TracInCP", "dattri TracIn"])
def test_products_of_gradients_are_what_a_loop_over_rows_gives(bench: Any, package: str) -> None:
    problem = bench.problem
    rows = gradients(bench.module, problem.inputs, torch.tensor(problem.labels))
    queries = gradients(bench.module, problem.trusted, torch.tensor(problem.trusted_labels))
    np.testing.assert_allclose(
        scored(bench, f"{package}, self"), (rows**2).sum(dim=1).numpy(), rtol=1e-4, atol=1e-7
    )
    strongest = (rows @ queries.T).sort(dim=1).values[:, :20].mean(dim=1)
    np.testing.assert_allclose(
        scored(bench, f"{package}, opponents"), -strongest.numpy(), rtol=1e-4, atol=1e-7
    )


def test_all_rivals_are_tested() -> None:
    from influence_rivals import INFLUENCE_RIVALS

    assert [name for name in INFLUENCE_RIVALS if name != "traker TRAK, 2048"] == RIVALS


def test_a_package_that_is_missing_is_named(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from influence_rivals import INFLUENCE_RIVALS
    from mislabel_methods import NotApplicableError
    from mislabel_training import Meter

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, package in {
        "Captum TracInCP, self": "captum",
        "dattri TRAK": "dattri",
        "traker TRAK, 512": "traker",
        "Kronfluence EK-FAC, self": "kronfluence",
    }.items():
        with Meter() as meter, pytest.raises(NotApplicableError) as raised:
            INFLUENCE_RIVALS[name](bench, meter)
        assert str(raised.value) == f"{package} is not installed"

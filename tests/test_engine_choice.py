"""Any engine will do: one method, tried here with one that computes nothing."""

import importlib.util
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CommandLine, Project

from dataaudit.scoring import choice
from dataaudit.scoring.blocks import ScoreBlock
from dataaudit.scoring.engine import Engine
from dataaudit.stages import auditing


@dataclass
class FakeEngine:
    """Yields made-up scores, the last block first."""

    asked: list[tuple[str, list[int]]]

    def score(
        self,
        model: Any,
        task: Any,
        samples: Any,
        perturbations: Any,
        finished: Collection[int] = (),
        into: Any = None,
    ) -> Iterator[ScoreBlock]:
        self.asked.append((samples.role, sorted(finished)))
        models = 1 + len(perturbations)
        for start in (100, 0):
            count = 100 if start == 0 else len(samples) - 100
            if start not in finished:
                positions = start + np.arange(count)
                given = np.eye(task.classes)[samples.labels[positions]]
                probabilities = (0.7 * given + 0.1)[:, None].repeat(models, axis=1)
                yield ScoreBlock(
                    start,
                    -np.log(probabilities.max(axis=2)).astype(np.float32),
                    probabilities.astype(np.float32),
                    positions[:, None].astype(np.float16),
                )


def test_blocks_may_come_in_any_order(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Engine = FakeEngine(asked := [])
    monkeypatch.setattr(auditing, "make_engine", lambda config, cluster: fake)
    result = auditing.run_file(project.yaml, project.folder / "audit")
    assert asked == [("train", []), ("held_out", []), ("suspects", [])]
    assert len(result.mislabels) == 400
    assert len(result.contamination) >= 120


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("engine: spark", "engine.kind: found 'spark'"),
        ("engine: {kind: ray, workers: 0}", "engine.workers: found 0"),
        ("engine: {kind: ray, adress: auto}", "engine.adress: unknown key; did you mean address?"),
    ],
)
def test_bad_engines_are_named(
    project: Project, command_line: CommandLine, line: str, message: str
) -> None:
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 2
    assert message in outcome.err


def test_ray_that_is_not_installed(
    project: Project, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = importlib.util.find_spec
    monkeypatch.setattr(
        choice.importlib.util,
        "find_spec",
        lambda name, package=None: None if name == "ray" else original(name, package),
    )
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write("engine: ray\n")
    outcome = command_line("run", project.yaml, "--out", Path(project.folder / "audit"))
    assert outcome.code == 2
    assert "engine: ray is not installed; install dataaudit[ray]" in outcome.err

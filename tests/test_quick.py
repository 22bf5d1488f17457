"""`mirror: {effort: quick}`: at most two forward passes of the model over the rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine
from torch import Tensor, nn

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.errors import RunDirectoryError
from dataaudit.inputs import Loaded
from dataaudit.mirror import effort
from dataaudit.mirror.effort import chosen_effort, costs, operations
from dataaudit.stages.loading import load_objects
from dataaudit.stages.model_check import ROWS_CHECKED, agreement, samples_looked_at
from dataaudit.tasks import Classification

ROWS, TRUSTED, WIDTH = 300, 120, 6


class Network(nn.Module):
    """Counts the rows that pass through its body."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh())
        self.head = nn.Linear(16, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(inputs))
        return outputs


def frame(count: int, seed: int, flipped: float) -> tuple[pd.DataFrame, np.ndarray]:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, WIDTH)).astype(np.float32)
    right = (values[:, 0] + values[:, 1] > 0).astype(int)
    wrong = generator.random(count) < flipped
    columns = [f"x{place}" for place in range(WIDTH)]
    return pd.DataFrame(values, columns=columns).assign(
        label=np.where(wrong, 1 - right, right)
    ), wrong


TRAIN, WRONG = frame(ROWS, 0, 0.15)
HELD_OUT, _ = frame(TRUSTED, 1, 0.0)


def audited(out: Path | None = None, **more: Any) -> Any:
    mirror = {"effort": "quick"}
    return dataaudit.audit(
        Network(0), TRAIN, HELD_OUT, initial=Network(1).body, mirror=mirror, out=out, **more
    )


def test_wrong_labels_are_found_from_what_the_model_saw_before_training() -> None:
    rows = audited().mislabels
    worst = rows.sort_values("rank")["row_id"].head(int(WRONG.sum()))
    assert WRONG[worst].mean() > 0.8
    # Higher is more suspicious.
    assert rows["score"][WRONG].mean() > rows["score"][~WRONG].mean() + 2


def test_probabilities_rest_on_trusted_samples() -> None:
    result = audited()
    labels = result.report.labels
    assert labels.noise_rate.low <= WRONG.mean() <= labels.noise_rate.high < 0.5
    assert "Nothing was learned again" in labels.method
    assert f"{TRUSTED} trusted samples, a quarter of them" in labels.method


def test_the_model_runs_twice_over_rows_and_trusted_samples() -> None:
    passed = []
    module, body = Network(0), Network(1).body

    def count(part: nn.Module, arguments: Any, output: Tensor) -> None:
        passed.append(len(output))

    module.head.register_forward_hook(count)
    splits: dict[Any, Any] = {"train": TRAIN, "held_out": HELD_OUT, "suspects": None}
    config = config_from_python("label", None, {"mirror": {"effort": "quick"}})
    found = load_objects(module, splits, None, config, body, trusting=True)
    looks = sum(passed)
    passed.clear()
    dataaudit.audit(module, TRAIN, HELD_OUT, initial=body, mirror={"effort": "quick"})
    assert sum(passed) - looks == 2 * (ROWS + TRUSTED)
    predicted = next(cost.passes for cost in costs(found, config) if cost.effort == "quick")
    assert predicted * ROWS == pytest.approx(2 * (ROWS + TRUSTED))


@pytest.mark.parametrize(
    ("samples", "classes", "looked_at"),
    [(120, 2, 200), (4000, 10, 400), (300_000, 10, 2000), (4000, 40, 800), (4000, 0, 400)],
)
def test_a_quick_audit_looks_at_a_tenth_first(samples: int, classes: int, looked_at: int) -> None:
    assert samples_looked_at(samples, classes, quick=True) == looked_at
    assert samples_looked_at(samples, classes, quick=False) == ROWS_CHECKED


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_that_look_is_enough_to_tell_a_model_that_is_never_right(classes: int) -> None:
    labels = np.arange(samples_looked_at(10 * classes, classes, quick=True)) % classes
    outputs = torch.nn.functional.one_hot(torch.tensor((labels + 1) % classes), classes).float()
    task = Classification(classes)
    predictions = np.asarray(task.predictions(outputs))
    assert agreement(task, predictions, labels).against_chance == "below"


def test_nothing_depends_on_the_batch_size() -> None:
    one, other = (audited(batch_size=size).mislabels for size in (7, 256))
    np.testing.assert_allclose(one["score"], other["score"], atol=0.02)


def test_an_interrupted_audit_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited(tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr("dataaudit.stages.auditing.find_mislabels", _stop)
        with pytest.raises(KeyboardInterrupt):
            audited(tmp_path / "stopped")
    kept = [path.name for path in (tmp_path / "stopped" / "work").rglob("*.step")]
    assert len(kept) >= 4
    with pytest.raises(RunDirectoryError):
        audited(tmp_path / "stopped")
    audited(tmp_path / "stopped", resume=True)
    name = "mislabels.parquet"
    assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def _stop(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_without_an_initial_model_the_last_layer_learns_again() -> None:
    result = dataaudit.audit(Network(0), TRAIN, HELD_OUT, mirror={"effort": "quick"})
    assert "head" in result.report.method.settings["mirror"]


# Cost


def loaded(**settings: Any) -> Loaded:
    config = config_from_python("label", None, settings)
    splits: dict[Any, Any] = {"train": TRAIN, "held_out": HELD_OUT, "suspects": None}
    return load_objects(Network(0), splits, None, config, Network(1).body)


def test_predicted_passes_grow_with_effort() -> None:
    config = config_from_python("label", None, {})
    found = {cost.effort: cost for cost in costs(loaded(), config)}
    assert found["quick"].passes == pytest.approx(2 * (ROWS + TRUSTED) / ROWS)
    assert found["quick"].passes < found["standard"].passes < found["thorough"].passes
    assert all(cost.seconds > 0 for cost in found.values())


@pytest.mark.parametrize("name", ["quick", "standard"])
def test_no_more_passes_are_taken_than_were_predicted(name: str) -> None:
    passed: list[int] = []
    module = Network(0)
    config = config_from_python("label", None, {"mirror": {"effort": name}})
    splits: dict[Any, Any] = {"train": TRAIN, "held_out": HELD_OUT, "suspects": None}
    inputs = load_objects(module, splits, None, config, trusting=True)
    assert effort.second_opinion_of(inputs) == (ROWS, TRUSTED)
    assert effort.second_opinion_of(loaded()) == (0, 0)
    predicted = next(cost.passes for cost in costs(inputs, config) if cost.effort == name)
    module.body.register_forward_hook(lambda part, given, output: passed.append(len(output)))
    load_objects(module, splits, None, config, trusting=True)
    # Loading looks at so many rows of each split, however many there are; so does the plan.
    looks = sum(passed) + 2 * effort.ROWS_TIMED
    passed.clear()
    dataaudit.audit(module, TRAIN, HELD_OUT, mirror={"effort": name})
    assert 0 < sum(passed) - looks <= predicted * ROWS


def test_auto_is_standard_unless_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_from_python("label", None, {})
    assert chosen_effort(loaded(), config) == "standard"
    monkeypatch.setitem(effort.AFFORDABLE, "cpu", 1e6)
    assert chosen_effort(loaded(), config) == "quick"
    asked = config_from_python("label", None, {"mirror": {"effort": "thorough"}})
    assert chosen_effort(loaded(), asked) == "thorough"


class Scaled(Network):
    """What comes out of its last layer is not its output."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


@pytest.mark.parametrize(("kind", "chosen"), [(Network, "quick"), (Scaled, "standard")])
def test_auto_is_not_quick_where_the_last_layer_cannot_learn_alone(
    kind: type[Network], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(effort.AFFORDABLE, "cpu", 1e6)
    mirror = {"steps": 20}
    config = config_from_python("label", None, {"mirror": mirror})
    splits: dict[Any, Any] = {"train": TRAIN, "held_out": HELD_OUT, "suspects": None}
    assert chosen_effort(load_objects(kind(0), splits, None, config, trusting=True), config) == (
        chosen
    )
    result = dataaudit.audit(kind(0), TRAIN, HELD_OUT, mirror=mirror)
    assert str(result.report.method.settings["mirror"]).startswith(f"{chosen}: ")


def test_operations_of_a_forward_pass() -> None:
    assert operations(loaded()) == 2 * (WIDTH * 16 + 16 * 2)


def test_the_command_states_the_cost_of_every_effort(
    tmp_path: Path, command_line: CommandLine
) -> None:
    (tmp_path / "network.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Linear(6, 2)\n"
    )
    TRAIN.to_csv(tmp_path / "train.csv", index=False)
    content = "model: {factory: network:build}\ntrain: {path: train.csv}\n"
    (tmp_path / "audit.yaml").write_text(content)
    ran = command_line("plan", tmp_path / "audit.yaml")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["quick", "standard", "thorough"]
    assert lines[0].startswith("quick: at most 1.0 forward passes for each training row, about ")
    assert lines[1].endswith("(mirror.effort: auto)")
    (tmp_path / "audit.yaml").write_text(f"task: causal-lm\n{content}")
    assert command_line("plan", tmp_path / "audit.yaml").code == 2

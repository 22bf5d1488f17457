"""The first thing checked: whether model, classes and samples belong together."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CLASSES, CommandLine, Project
from safetensors.torch import load_file
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from torch import nn

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.inputs import Loaded
from dataaudit.stages.loading import load_objects
from dataaudit.stages.model_check import (
    ROWS_CHECKED,
    Agreement,
    agreement,
    note,
    refuse_worse_than_chance,
)
from dataaudit.stages.screening import note as note_of_rows
from dataaudit.tasks import Classification, MultiLabel, Regression
from dataaudit.tasks.boxes import Detection

FEATURES = ["width", "height", "weight"]


def preprocess(frame: pd.DataFrame) -> torch.Tensor:
    return torch.tensor(frame[FEATURES].to_numpy(), dtype=torch.float32)


def network(project: Project | None) -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    if project is not None:
        module.load_state_dict(load_file(project.folder / "model.safetensors"))
    return module


def loaded(module: nn.Module, train: Any, held_out: Any, **settings: Any) -> Loaded:
    config = config_from_python("kind", None, {"classes": CLASSES, **settings}, None)
    splits = {"train": train, "held_out": held_out, "suspects": None}
    return load_objects(module, splits, preprocess, config, trusting=True)


def tables(project: Project) -> tuple[pd.DataFrame, pd.DataFrame]:
    train, val = (pd.read_csv(project.folder / f"{name}.csv") for name in ("train", "val"))
    return train.drop(columns="row_id"), val


def test_chance_is_the_mean_of_all_ways_to_deal_the_predictions_out() -> None:
    """Oracle: every permutation of five predictions."""
    predicted, given = np.array([0, 1, 1, 2, 0]), np.array([0, 1, 2, 2, 1])
    ways = np.array(
        [(np.array(way) == given).sum() for way in itertools.permutations(predicted.tolist())]
    )
    found = agreement(Classification(3), np.eye(3)[predicted], given)
    assert found.right == 3 / 5
    assert found.by_chance == pytest.approx(ways.mean() / 5)
    assert found.deviations == pytest.approx((3 - ways.mean()) / ways.std())


def test_a_constant_model_is_near_chance_however_rare_the_other_class_is() -> None:
    labels = np.r_[np.zeros(495, dtype=int), np.ones(5, dtype=int)]
    constant = np.tile([0.99, 0.01], (500, 1))
    found = agreement(Classification(2), constant, labels)
    assert (found.right, found.against_chance) == (0.99, "near")
    knowing = np.eye(2)[labels]
    assert agreement(Classification(2), knowing, labels).against_chance == "above"
    assert agreement(Classification(2), knowing[:, ::-1], labels).against_chance == "below"


def test_a_model_that_is_a_little_worse_than_chance_is_near_it() -> None:
    """One that says the same of nearly all rows has little spread, but contradicts nothing."""
    labels = np.r_[np.zeros(150, dtype=int), np.ones(150, dtype=int)]
    predicted = np.ones(300, dtype=int)
    predicted[150:170] = 0
    found = agreement(Classification(2), np.eye(2)[predicted], labels)
    assert found.deviations < -4
    assert found.against_chance == "near"


def test_boxes_are_held_against_those_of_other_pictures() -> None:
    generator = np.random.default_rng(0)
    corners = generator.integers(0, 200, (200, 2))
    kinds = generator.integers(0, 2, 200)
    given = np.concatenate([kinds[:, None], corners, corners + 20, np.zeros((200, 1))], axis=1)

    def found(classes: np.ndarray, places: np.ndarray, count: int) -> Agreement:
        boxes = given.copy()
        boxes[:, 0], boxes[:, 1:5], boxes[:, 5] = classes, given[places, 1:5], 0.9
        predictions = np.concatenate([np.zeros((200, 1)), boxes], axis=1)
        labels = given.copy()
        labels[:, 0] = np.minimum(labels[:, 0], count - 1)
        predictions[:, 1] = np.minimum(predictions[:, 1], count - 1)
        return agreement(Detection(count, 1), predictions, labels)

    same = np.arange(200)
    # A fifth is missed, and there are as many that are too much.
    some = np.where(same % 5 > 0, same, (same + 7) % 200)
    for count in (1, 2):
        good = found(kinds, some, count)
        assert good.right == pytest.approx(160 / 240, abs=0.02)
        assert (good.by_chance < 0.05, good.against_chance) == (True, "above")
        assert found(kinds, (same + 7) % 200, count).against_chance == "near"
    assert found(1 - kinds, some, 2).against_chance == "below"
    nothing = np.full((200, 7), -100.0)
    assert agreement(Detection(2, 1), nothing, given).against_chance == "near"
    assert agreement(Detection(2, 1), nothing[:1], given[:1]).against_chance == "near"


def test_sets_and_targets_are_held_against_chance_too() -> None:
    generator = np.random.default_rng(0)
    sets = generator.integers(2, size=(200, 4))
    assert agreement(MultiLabel(4), sets * 0.8 + 0.1, sets).against_chance == "above"
    assert agreement(MultiLabel(4), 0.9 - sets * 0.8, sets).against_chance == "below"
    other = generator.random((200, 4))
    assert agreement(MultiLabel(4), other, sets).against_chance == "near"
    targets = generator.normal(size=200)
    for factor, expected in [(1.0, "above"), (-1.0, "below"), (0.0, "near")]:
        noisy = factor * targets + 0.1 * generator.normal(size=200)
        found = agreement(Regression(), noisy[:, None], targets)
        assert found.against_chance == expected, factor


def test_what_was_measured_stands_on_loaded_and_in_the_report(project: Project) -> None:
    train, val = tables(project)
    check = loaded(network(project), train, val).check
    assert check is not None
    assert check.measure == "accuracy"
    assert (check.train_rows, check.trusted_rows, check.held_out_rows) == (400, 150, 150)
    assert check.accuracy_trusted is not None
    assert check.accuracy_trusted > 0.9 > check.accuracy_train > 0.8
    assert check.chance == pytest.approx(1 / 3, abs=0.05)
    assert (check.against_chance, check.held_out_in_train) == ("above", 0)
    shown = f"{check.accuracy_trusted:.1%} on 150 trusted samples"
    assert shown in note(check)
    result = dataaudit.audit(
        network(project), train, val, label="kind", preprocess=preprocess, classes=CLASSES
    )
    assert any(shown in found for found in result.report.coverage.notes)


def test_without_trusted_samples_the_training_rows_decide(project: Project) -> None:
    train, _ = tables(project)
    check = loaded(network(project), train, None).check
    assert check is not None
    assert (check.accuracy_trusted, check.against_chance) == (None, "above")
    found = loaded(network(project), train, None, classes=["pear", "plum", "apple"])
    with pytest.raises(dataaudit.ModelError, match=r"train .*clearly worse than chance"):
        refuse_worse_than_chance(found)


def test_a_bounded_number_of_rows_is_looked_at(project: Project) -> None:
    train, val = tables(project)
    many = pd.concat([train] * 6, ignore_index=True)
    check = loaded(network(project), many, val).check
    assert check is not None
    assert check.train_rows == ROWS_CHECKED < len(many)


@pytest.mark.parametrize("turned", ["classes", "labels"])
def test_what_is_clearly_worse_than_chance_is_refused(project: Project, turned: str) -> None:
    train, val = tables(project)
    settings: dict[str, Any] = {}
    if turned == "classes":
        settings["classes"] = ["plum", "apple", "pear"]
    else:
        val["kind"] = val["kind"].map({"apple": "pear", "pear": "plum", "plum": "apple"})
    with pytest.raises(dataaudit.ModelError) as caught:
        refuse_worse_than_chance(loaded(network(project), train, val, **settings))
    assert str(caught.value).startswith("held_out (held_out (DataFrame)): the model's accuracy is")
    assert "clearly worse than chance (3" in str(caught.value)


def test_forgotten_weights_are_said(project: Project) -> None:
    train, val = tables(project)
    forgotten = network(None)
    with torch.no_grad():
        for parameter in forgotten.parameters():
            parameter.zero_()
    check = loaded(forgotten, train, val).check
    assert check is not None
    assert check.against_chance == "near"
    assert "not clearly better than chance" in note(check)


def test_trusted_samples_that_stand_in_the_training_set_are_not_trusted(project: Project) -> None:
    train, val = tables(project)
    mixed = pd.concat([train[:12], val, train[50:53]], ignore_index=True)
    found = loaded(network(project), train, mixed)
    assert found.check is not None
    assert (found.check.held_out_in_train, found.check.held_out_rows) == (15, 165)
    assert found.held_out is not None
    assert found.held_out.ids.tolist() == list(range(12, 162))
    said = note_of_rows(found.set_aside["held_out"])
    assert said.startswith("held_out: 15 of 165 rows are training rows, too, and are not")


def test_held_out_that_names_the_training_file_leaves_no_trusted_sample(project: Project) -> None:
    train, _ = tables(project)
    found = loaded(network(project), train, train)
    assert found.held_out is None
    assert found.check is not None
    assert (found.check.held_out_in_train, found.check.accuracy_trusted) == (400, None)


def test_rows_that_repeat_each_other_by_nature_stay_trusted(project: Project) -> None:
    train, val = (table.round(dict.fromkeys(FEATURES, 0)) for table in tables(project))
    found = loaded(network(project), train, val)
    assert found.held_out is not None
    assert len(found.held_out) == 150
    assert found.check is not None
    assert found.check.held_out_in_train > 100
    assert found.check.train_repeats > 0.8


class Undefined(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(inputs)
        return found * float("nan")


def test_outputs_that_are_no_numbers_are_refused(project: Project) -> None:
    train, val = tables(project)
    with pytest.raises(dataaudit.ModelError, match=r"row 0 .*the model returned NaN"):
        loaded(Undefined(network(project)), train, val)


def test_the_command_stops_with_the_reason(project: Project, command_line: CommandLine) -> None:
    project.replace("audit.yaml", "[apple, pear, plum]", "[plum, apple, pear]")
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 2
    assert "clearly worse than chance" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (project.folder / "audit" / "audit.json").exists()


def test_an_estimator_speaks_for_itself_and_its_stand_in_is_measured(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network that stands in for a forest is not what the page speaks of."""
    monkeypatch.setattr("dataaudit.models.distillation._SURROGATE_STEPS", 3)
    train, val = tables(project)
    test = pd.read_csv(project.folder / "test.csv").drop(columns="query_id")
    forest = RandomForestClassifier(30, random_state=0).fit(train[FEATURES], train["kind"])
    result = dataaudit.audit(forest, train, val, test, label="kind", mirror={"steps": 5})
    leakage = result.report.leakage
    assert leakage is not None
    assert leakage.metric_all is not None
    own = forest.score(test[FEATURES], test["kind"])
    assert leakage.metric_all.estimate == pytest.approx(own)
    notes = " ".join(result.report.coverage.notes)
    assert f"accuracy is {forest.score(val[FEATURES], val['kind']):.1%} on 150 trusted" in notes
    found = re.search(r"stands in for it agrees with it on ([\d.]+)% of these rows", notes)
    assert found is not None
    assert 0 < float(found[1]) < 100


def test_a_regressor_speaks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataaudit.models.distillation._SURROGATE_STEPS", 3)
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(260, 3))
    targets = 100 + 20 * inputs[:, 0] + 5 * inputs[:, 1] ** 2
    forest = RandomForestRegressor(30, random_state=0).fit(inputs[:150], targets[:150])
    splits = [
        (inputs[part], targets[part]) for part in (slice(150), slice(150, 200), slice(200, 260))
    ]
    result = dataaudit.audit(forest, *splits, task="regression", mirror={"steps": 5})
    leakage = result.report.leakage
    assert leakage is not None
    assert leakage.metric_all is not None
    assert leakage.metric_all.estimate == pytest.approx(forest.score(*splits[2]))
    assert any(
        "of the variance of its predictions" in said for said in result.report.coverage.notes
    )

"""What a model's outputs are: told from their range, their sums and the labels of their rows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.inputs import Loaded
from dataaudit.models.outputs import OutputsOf, flattened
from dataaudit.stages.loading import load_objects
from dataaudit.tasks import Classification, MultiLabel

CENTRES = np.random.default_rng(99).normal(0, 2.2, (3, 4))


def blobs(count: int, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=count)
    inputs = CENTRES[labels] + generator.normal(size=(count, 4))
    return inputs.astype(np.float32), labels


def trained(outputs: int, classes: int) -> nn.Module:
    inputs, labels = blobs(300, 0, classes)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, outputs))
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(150):
        found = module(torch.tensor(inputs))
        if outputs == 1:
            targets = torch.tensor(labels, dtype=torch.float32)
            loss = functional.binary_cross_entropy_with_logits(found[:, 0], targets)
        else:
            loss = functional.cross_entropy(found, torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


THREE, ONE = trained(3, 3), trained(1, 2)


class Returning(nn.Module):
    """A network whose layers are found under the names that a user gave them."""

    def __init__(self, inner: nn.Module, told: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.body, self.head = copy.deepcopy(inner[:2]), copy.deepcopy(inner[2])
        self.told = told

    def forward(self, inputs: Tensor) -> Any:
        features = self.body(inputs)
        return self.told(features, self.head(features))


def load(
    module: Any, classes: int, task: str = "classification", held_out: Any = None, **settings: Any
) -> Loaded:
    config = config_from_python("label", None, {"task": task, **settings}, None)
    splits = {"train": blobs(300, 0, classes), "held_out": held_out or blobs(150, 1, classes)}
    return load_objects(module, {**splits, "suspects": None}, None, config, trusting=True)


class Named(NamedTuple):
    features: Tensor
    scores: Tensor


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (lambda f, z: z, "logits"),
        (lambda f, z: 3 * z, "logits"),
        (lambda f, z: z.log_softmax(1), "logits"),
        (lambda f, z: z.softmax(1), "probabilities"),
        (lambda f, z: z.sigmoid(), "separate probabilities"),
        (lambda f, z: z[:, None, :], "logits"),
        (lambda f, z: z[:, :, None, None], "logits"),
        (lambda f, z: (f, z), "logits"),
        (lambda f, z: [f, z.softmax(1)], "probabilities"),
        (lambda f, z: (z, 0.9 * z), "logits"),
        (lambda f, z: (f[:, :3], z), "logits"),
        (lambda f, z: (f, torch.cat([z, z[:, :2] - 50], 1)), "logits"),
        (lambda f, z: {"logits": z, "features": f}, "logits"),
        (lambda f, z: {"features": f, "out": z}, "logits"),
        (lambda f, z: SimpleNamespace(logits=z), "logits"),
        (lambda f, z: Named(f, z[:, None]), "logits"),
    ],
)
def test_outputs_of_several_classes(told: Callable[[Tensor, Tensor], Any], kind: str) -> None:
    loaded = load(Returning(THREE, told), 3)
    assert isinstance(loaded.task, Classification)
    assert loaded.task.outputs == kind
    assert loaded.task.classes in (3, 5), "not the 32 features"
    assert loaded.check is not None
    assert loaded.check.accuracy_trusted is not None
    assert loaded.check.accuracy_trusted > 0.9
    assert set(loaded.model.module.state_dict()) == set(Returning(THREE, told).state_dict())


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (lambda f, z: z, "one logit"),
        (lambda f, z: z[:, 0], "one logit"),
        (lambda f, z: z.sigmoid(), "one probability"),
        (lambda f, z: z.sigmoid()[:, 0], "one probability"),
        (lambda f, z: z.sigmoid()[:, :, None], "one probability"),
        (lambda f, z: functional.logsigmoid(z), "one log-probability"),
        (lambda f, z: torch.cat([-z, z], 1) / 2, "logits"),
        (lambda f, z: torch.cat([1 - z.sigmoid(), z.sigmoid()], 1), "probabilities"),
        (lambda f, z: torch.cat([(-z - 1).sigmoid(), z.sigmoid()], 1), "separate probabilities"),
        (lambda f, z: (z, f), "one logit"),
        (lambda f, z: (f, z), "one logit"),
    ],
)
def test_outputs_of_two_classes(told: Callable[[Tensor, Tensor], Any], kind: str) -> None:
    loaded = load(Returning(ONE, told), 2)
    assert isinstance(loaded.task, Classification)
    assert loaded.task.outputs == kind


def test_all_readings_of_one_model_give_the_same_losses() -> None:
    logit = torch.tensor([3.0, -2.0, 0.5, -30.0], dtype=torch.float64)
    labels = torch.tensor([1, 0, 0, 0])
    expected = Classification(2, "one logit").losses(logit, labels)
    for outputs, kind in [
        (logit.sigmoid(), "one probability"),
        (functional.logsigmoid(logit), "one log-probability"),
        (torch.stack([(-logit).sigmoid(), logit.sigmoid()], 1), "separate probabilities"),
    ]:
        found = Classification(2, kind).losses(outputs, labels)  # type: ignore[arg-type]
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize(
    "kind", ["one probability", "one log-probability", "separate probabilities"]
)
def test_certainties_give_finite_losses_and_gradients(value: float, kind: Any) -> None:
    outputs = torch.full((2, 2 if kind.startswith("separate") else 1), value)
    if kind == "one log-probability":
        # The logarithm of 0 is no output that a model returns.
        outputs = outputs.clamp_min(1e-30).log()
    outputs.requires_grad_()
    losses = Classification(2, kind).losses(outputs, torch.tensor([0, 1]))
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()


def test_the_labels_decide_where_the_range_leaves_two_readings() -> None:
    """Logits that happen to lie between 0 and 1, of a rare negative class, stay logits."""
    labels = torch.tensor([1] * 95 + [0] * 5)
    constant = torch.zeros(100)
    assert Classification.of(constant, 2, labels).outputs == "one logit"
    assert Classification.of(torch.full((100,), 0.95), 2, labels).outputs == "one probability"
    sets = torch.tensor([[1, 0], [0, 1]] * 50)
    assert MultiLabel.of(torch.zeros(100, 2), 2, sets).outputs == "logits"
    assert MultiLabel.of(sets * 0.9 + 0.05, 2, sets).outputs == "probabilities"


def test_the_number_of_classes_is_not_that_of_the_features() -> None:
    """Labels 0, 1, 2 without `classes`: 32 features beside 3 logits are no 32 classes."""
    loaded = load(Returning(THREE, lambda f, z: (f, z)), 3)
    assert list(loaded.train.classes) == [0, 1, 2]
    assert "of the tensors that the model returns" in loaded.model.note.lower()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (lambda f, z: (f[:, :3] * 0, z * 0), r"2 tensors .*which of them are its outputs"),
        (lambda f, z: (f, z[:, :2]), r"2 tensors \(0 \(64, 32\), 1 \(64, 2\)\); which"),
        (lambda f, z: (f[:1], "text"), r"the model returned outputs of shape \(1, 32\) for 64"),
        (lambda f, z: "text", r"the model returned str; expected a tensor of logits"),
        (lambda f, z: {}, r"the model returned dict; expected a tensor of logits"),
    ],
)
def test_what_cannot_be_told_is_refused(
    told: Callable[[Tensor, Tensor], Any], message: str
) -> None:
    with pytest.raises(dataaudit.DataAuditError, match=message):
        load(Returning(THREE, told), 3)


def test_the_wrapper_keeps_names_values_and_modes() -> None:
    inner = Returning(THREE, lambda f, z: (f, z))
    outer = OutputsOf(inner, 1, flatten=True)
    inputs = torch.tensor(blobs(5, 3)[0])
    assert list(outer.state_dict()) == list(inner.state_dict())
    expected = inner(inputs)[1]
    torch.testing.assert_close(outer(inputs), expected)
    zero = {"head.weight": torch.zeros(3, 32), "head.bias": torch.zeros(3)}
    assert not torch.func.functional_call(outer, zero, (inputs,)).any()
    copied = copy.deepcopy(outer)
    with torch.no_grad():
        copied.head.bias.fill_(1e6)
    assert bool((copied(inputs) > 1e5).all())
    torch.testing.assert_close(outer(inputs), expected)
    assert outer.train().body.training
    assert not outer.eval().body.training


def test_dimensions_of_size_one_fall_away_and_no_others() -> None:
    for shape, expected in [((5, 1, 3), (5, 3)), ((5, 3, 1, 1), (5, 3)), ((5, 1, 1), (5, 1))]:
        assert flattened(torch.zeros(shape)).shape == expected
    for shape in [(5,), (5, 3), (5, 2, 3)]:
        assert flattened(torch.zeros(shape)).shape == shape


@pytest.mark.parametrize(
    "classes", [["pear", "apple", "fig"], ["apple", "fig"], ["apple", "fig", "x"]]
)
def test_classes_that_contradict_the_estimator_are_refused(classes: list[str]) -> None:
    names = np.array(["pear", "apple", "fig"])
    inputs, labels = blobs(300, 0)
    estimator = LogisticRegression().fit(inputs, names[labels])
    frame = pd.DataFrame(inputs).assign(label=names[labels])
    message = (
        r"classes: found \[.*own classes, in the order of its outputs, are \[apple, fig, pear\]"
    )
    with pytest.raises(dataaudit.ConfigError, match=message):
        dataaudit.audit(estimator, frame, classes=classes)


def test_the_report_says_what_the_outputs_are_read_as() -> None:
    result = dataaudit.audit(
        Returning(ONE, lambda f, z: z.sigmoid()), blobs(120, 0, 2), blobs(60, 1, 2)
    )
    assert any(
        "Its outputs are read as one probability, of the second class" in note
        for note in result.report.coverage.notes
    )

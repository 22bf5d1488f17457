"""Modules and estimators as people have them: wrapped, frozen, lazy, broken, or with categories."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.inputs import Loaded
from dataaudit.models.torch_module import mirrorable
from dataaudit.stages.loading import load_objects

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(2, size=240)
INPUTS = (GENERATOR.normal(size=(240, 4)) + 3 * LABELS[:, None]).astype(np.float32)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(60):
        loss = nn.functional.cross_entropy(module(torch.tensor(INPUTS)), torch.tensor(LABELS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


TRAINED = network()


def load(model: Any, train: Any = None, **settings: Any) -> Loaded:
    config = config_from_python("label", None, settings, None)
    splits = {"train": (INPUTS, LABELS) if train is None else train, "held_out": None}
    return load_objects(model, {**splits, "suspects": None}, None, config, trusting=True)


def made_under_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return copy.deepcopy(TRAINED)


WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "DataParallel": lambda: nn.DataParallel(copy.deepcopy(TRAINED)),
    "compiled": lambda: torch.compile(copy.deepcopy(TRAINED), backend="eager"),  # type: ignore[dict-item,return-value]
    "both": lambda: nn.DataParallel(torch.compile(copy.deepcopy(TRAINED), backend="eager")),  # type: ignore[arg-type]
    "frozen": lambda: copy.deepcopy(TRAINED).requires_grad_(False),
    "inference mode": made_under_inference_mode,
    "train mode": lambda: copy.deepcopy(TRAINED).train(),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_module_is_what_it_was_before_it_was_wrapped(kind: str) -> None:
    given = WRAPPED[kind]()
    before = [parameter.requires_grad for parameter in given.parameters()]
    module, _ = mirrorable(given)
    assert list(module.state_dict()) == list(TRAINED.state_dict())
    inputs = torch.tensor(INPUTS[:5])
    torch.testing.assert_close(module(inputs), TRAINED(inputs))
    module(inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert [parameter.requires_grad for parameter in given.parameters()] == before
    if kind == "frozen":
        assert all(parameter.grad is None for parameter in given.parameters())


def test_an_audit_inside_inference_mode_is_the_same_audit() -> None:
    splits = [(INPUTS[part], LABELS[part]) for part in (slice(120), slice(120, 200))]
    outside = dataaudit.audit(copy.deepcopy(TRAINED), *splits, mirror={"steps": 5})
    with torch.inference_mode():
        inside = dataaudit.audit(copy.deepcopy(TRAINED), *splits, mirror={"steps": 5})
    pd.testing.assert_frame_equal(outside.mislabels, inside.mislabels)


def spoiled(name: str, value: float) -> nn.Module:
    module = copy.deepcopy(TRAINED)
    module.state_dict()[name].view(-1)[0] = value
    return module


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: spoiled("0.weight", float("nan")), r"parameter 0\.weight holds 1 values that are"),
        (lambda: spoiled("3.bias", float("inf")), r"parameter 3\.bias holds 1 values that are NaN"),
        (lambda: spoiled("1.running_var", float("nan")), r"buffer 1\.running_var holds NaN"),
        (
            lambda: nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 2)),
            r"0\.weight is a parameter of a lazy layer that has no weights yet",
        ),
    ],
)
def test_weights_that_cannot_be_used_are_named(
    model: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(dataaudit.ModelError, match=message):
        load(model())


class Failing(RandomForestClassifier):
    """An estimator of the user's own that fails where it is asked."""

    def predict_proba(self, rows: Any) -> Any:
        raise RuntimeError("out of\nmemory")


class OfAnotherShape(RandomForestClassifier):
    def predict_proba(self, rows: Any) -> Any:
        return super().predict_proba(rows)[:, 1]


class Undefined(RandomForestClassifier):
    def predict_proba(self, rows: Any) -> Any:
        return super().predict_proba(rows) * np.nan


class Exiting(RandomForestClassifier):
    def predict_proba(self, rows: Any) -> Any:
        return [[1 / 0]]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Failing, "Failing: predict_proba failed on rows of the data: RuntimeError: out of memory"),
        (OfAnotherShape, r"OfAnotherShape: predict_proba returned an array of shape \(240,\)"),
        (Undefined, "Undefined: predict_proba returned an array .* with NaN or infinite values"),
        (Exiting, "Exiting: predict_proba failed on rows of the data: ZeroDivisionError"),
    ],
)
def test_what_an_estimator_raises_is_one_message(kind: Any, message: str) -> None:
    with pytest.raises(dataaudit.ModelError, match=message):
        load(kind(5).fit(INPUTS, LABELS))


def test_a_step_that_fails_is_one_message() -> None:
    def steep(values: Any) -> Any:
        if len(values) != 240 or steep.fitted:  # type: ignore[attr-defined]
            raise KeyError("no such column")
        return values

    steep.fitted = False  # type: ignore[attr-defined]
    for last in (RandomForestClassifier(5), LogisticRegression()):
        steep.fitted = False  # type: ignore[attr-defined]
        pipeline = make_pipeline(FunctionTransformer(steep), last).fit(INPUTS, LABELS)
        steep.fitted = True  # type: ignore[attr-defined]
        with pytest.raises(dataaudit.DataAuditError, match="KeyError: 'no such column'"):
            load(pipeline)

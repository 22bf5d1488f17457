"""Other models' opinions: read, refused, and weighed on trusted samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from torch import nn

import dataaudit
from dataaudit.config import AuditConfig
from dataaudit.errors import DataAuditError
from dataaudit.run_directory.finished import FinishedAudit

PIXELS = [f"pixel{place}" for place in range(64)]
COLUMNS = [f"p{label}" for label in range(10)]


def digits(opinion: str) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Return 300 rows, a fifth of them wrong, 100 trusted samples, and which rows are wrong.

    An opinion is right nine times of ten and says so; or it knows nothing, and is as sure.
    """
    images, digit = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    order = generator.permutation(len(digit))[:400]
    truth = digit[order]
    said = np.where(generator.random(400) < 0.9, truth, generator.integers(0, 10, 400))
    if opinion == "useless":
        said = generator.integers(0, 10, 400)
    table = pd.DataFrame(images[order] / 16, columns=PIXELS)
    table[COLUMNS] = np.where(np.eye(10)[said] > 0, 0.91, 0.01)
    given = np.where(generator.random(400) < 0.2, generator.integers(0, 10, 400), truth)
    train, trusted = table[:300].assign(label=given[:300]), table[300:].assign(label=truth[300:])
    return train, trusted, (given != truth)[:300]


def precision(opinion: str, named: bool, model: object, **settings: object) -> float:
    train, trusted, wrong = digits(opinion)
    result = dataaudit.audit(
        model, train, trusted, opinions={"other": COLUMNS} if named else None, **settings
    )
    return float(average_precision_score(wrong, result.mislabels["score"]))


def test_a_good_opinion_helps_an_estimator_and_a_useless_one_does_no_harm() -> None:
    train, _, _ = digits("good")
    model = LogisticRegression(C=0.02, max_iter=50).fit(train[PIXELS], train["label"])
    alone = precision("good", False, model)
    assert precision("good", True, model) > alone + 0.005
    assert precision("useless", True, model) > alone - 0.02


def test_a_network_weighs_opinions_on_its_references() -> None:
    torch.manual_seed(0)
    model = nn.Linear(64, 10)

    def pixels(frame: pd.DataFrame) -> torch.Tensor:
        return torch.tensor(frame[PIXELS].to_numpy(), dtype=torch.float32)

    settings = {"preprocess": pixels, "mirror": {"steps": 30}}
    alone = precision("good", False, model, **settings)
    assert precision("good", True, model, **settings) > alone
    assert precision("useless", True, model, **settings) > alone - 0.03


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opinions": {"other": COLUMNS[:9]}}, "other: found 9 columns, expected 10"),
        ({"opinions": {"other": [*COLUMNS[:9], "q"]}}, "no column 'q', named in train.opinions"),
        ({"opinions": {"other": [*COLUMNS[:9], "pixel_"]}}, "row 0 .*: expected probabilities"),
        ({"opinions": {"other": COLUMNS}, "held_out": None}, "expected held_out, with the same"),
        ({"opinions": {"other": COLUMNS}, "labels": ["a", "b"]}, "expected one of them"),
        ({"opinions": {"other": COLUMNS}, "task": "regression"}, "are for training rows, task"),
    ],
)
def test_opinions_that_cannot_be_weighed_are_refused(
    change: dict[str, object], message: str
) -> None:
    train, trusted, _ = digits("good")
    model = LogisticRegression(max_iter=50).fit(train[PIXELS], train["label"])
    train, trusted = train.assign(pixel_=2.0), trusted.assign(pixel_=2.0)
    with pytest.raises(DataAuditError, match=message):
        dataaudit.audit(model, train, **{"held_out": trusted, **change})


def test_what_others_say_is_no_feature_when_an_audit_is_opened_again(
    tmp_path: Path, command_line: CommandLine
) -> None:
    frame = pd.DataFrame({"x": range(40), "label": [0, 1] * 20, "p": 0.5, "q": 0.5})
    frame.assign(ann=frame["label"], bob=1).to_csv(tmp_path / "train.csv", index=False)
    frame.assign(ann=frame["label"], bob=1).to_csv(tmp_path / "test.csv", index=False)
    for name, said in (("opinions", "{other: [p, q]}"), ("labels", "[ann, bob]")):
        (tmp_path / "audit.yaml").write_text(
            f"train: {{path: train.csv, {name}: {said}}}\nsuspects: {{path: test.csv}}\n"
        )
        out = tmp_path / name
        assert command_line("run", tmp_path / "audit.yaml", "--out", out).code == 0
        audit, aside = FinishedAudit.open(out), {"p", "q"} if name == "opinions" else {"ann", "bob"}
        for samples in (audit.training_rows(), audit.suspects()):
            assert samples.special_columns() == {"label", *aside}


@pytest.mark.parametrize(
    "settings",
    [
        {"labels": ["ann", "ann"]},
        {"label": ["a", "b", "a"]},
        {"opinions": {"other": ["a", "a"]}},
    ],
)
def test_a_column_counts_once(settings: dict[str, Any]) -> None:
    task = "multi-label" if "label" in settings else "classification"
    train = {"path": "x.csv", **settings}
    with pytest.raises(ValueError, match=r"names the column '(ann|a)' twice"):
        AuditConfig.model_validate({"task": task, "train": train})

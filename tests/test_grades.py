"""Grades: an ordered kind of label, from audit.yaml to flags; two steps off weigh more than one."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

import dataaudit
from dataaudit.errors import ConfigError
from dataaudit.flags.grades import flag_grades, grade_signals
from dataaudit.flags.inputs import LabelledRows
from dataaudit.flags.tables import FlagSettings
from dataaudit.labels.by_task import KINDS
from dataaudit.tasks.ordinal import OrdinalClassification

NAMES = ["low", "medium", "high", "top"]


def test_each_step_counts() -> None:
    table = np.array([[0.7, 0.1, 0.1, 0.1], [0.7, 0.3 - 2e-7, 1e-7, 1e-7]])
    one, three = grade_signals(np.array([1, 3]), table, table)[:, 0]
    # The others count by their steps: .7 one step off, .1 one and two steps off.
    assert one == pytest.approx(np.log(np.sqrt(0.7**2 + 0.1**2 + 0.2**2) / 0.1), abs=1e-5)
    near, far = (grade_signals(np.array([grade]), table[:1], table[:1])[0, 0] for grade in (1, 3))
    assert far > near
    assert three > one


def test_the_suggestion_is_the_likeliest_other_grade_and_the_note_counts_steps() -> None:
    table = np.array([[0.6, 0.2, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1], [0.9, 0.05, 0.03, 0.02]])
    rows = LabelledRows(
        np.arange(3),
        np.array([2, 1, 0]),
        NAMES,
        lambda labels: np.array(NAMES)[labels],
        table,
        table,
        table,
    )
    found = flag_grades(rows, None, FlagSettings(budget=1))
    assert found.table["suggested_label"].tolist() == ["low", "high", "medium"]
    assert found.table["flagged"].tolist() == [True, False, False]
    assert found.notes is not None
    assert found.notes[0] == "After learning again the model expects low, 2 steps from high."
    assert found.notes[1] == "After learning again the model expects high, 1 step from medium."
    assert found.signals["expected_steps"].tolist() == pytest.approx([1.5, 0.5, 0.17])
    assert found.noise_per_class["class"].tolist() == NAMES


def test_the_metric_is_the_closeness_of_grades() -> None:
    task = OrdinalClassification(4)
    predictions = np.eye(4)[[0, 3, 1]]
    assert task.metric(predictions, np.array([0, 0, 2])).tolist() == pytest.approx([1, 0, 2 / 3])


def graded(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    """Return points of two exams, and the grade that their mean gives."""
    skill = generator.uniform(0, 4, rows)
    exams = skill[:, None] + generator.normal(0, 0.15, (rows, 2))
    table = pd.DataFrame(exams, columns=["first", "second"])
    return table.assign(grade=np.clip(skill.astype(int), 0, 3))


def test_wrong_grades_are_found_as_well_as_by_cleanlab() -> None:
    generator = np.random.default_rng(0)
    train, held_out = graded(900, generator), graded(240, generator)
    wrong = generator.random(900) < 0.15
    moved = (train["grade"] + generator.integers(1, 4, 900)) % 4
    train["grade"] = np.where(wrong, moved, train["grade"])
    features = ["first", "second"]
    model = LogisticRegression().fit(train[features], train["grade"])

    settings: dict[str, Any] = {"task": "ordinal", "classes": [0, 1, 2, 3]}
    result = dataaudit.audit(model, train, held_out, label="grade", **settings)
    assert result.report.identity.task == "ordinal"
    ours = average_precision_score(wrong, result.mislabels["score"])
    probabilities = cross_val_predict(
        LogisticRegression(), train[features], train["grade"], method="predict_proba"
    )
    quality = get_label_quality_scores(train["grade"].to_numpy(), probabilities)
    assert ours >= average_precision_score(wrong, 1 - quality)


def test_the_order_has_to_be_said() -> None:
    frame = pd.DataFrame({"x": [0.0, 1.0] * 20, "grade": ["low", "high"] * 20})
    model = LogisticRegression().fit(frame[["x"]], frame["grade"])
    with pytest.raises(ConfigError, match="task ordinal: expected classes, from the lowest to"):
        dataaudit.audit(model, frame, label="grade", task="ordinal")


def test_grades_are_typed_in_as_classes_are() -> None:
    assert KINDS["ordinal"].typed("top", NAMES, "low") == "top"
    assert KINDS["ordinal"].corrected("top", "low", "low", NAMES) == 3

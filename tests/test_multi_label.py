"""Label sets: losses against torch's own, planted errors, and how sets are read and written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.rewriting import write_corrected
from dataaudit.errors import DataError, ModelError
from dataaudit.labels.kind import Reading
from dataaudit.labels.sets import (
    as_text,
    from_text,
    sets_of_columns,
    sets_of_values,
)
from dataaudit.tasks import Classification, MultiLabel
from dataaudit.tasks.weighted import WeightedClassification, WeightedMultiLabel

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]], dtype=torch.float64)
LABELS = torch.tensor([[1, 0, 1], [0, 0, 0]], dtype=torch.int8)


def test_the_loss_is_the_sum_of_binary_cross_entropies() -> None:
    losses = MultiLabel(3).losses(LOGITS, LABELS)
    probabilities = LOGITS.sigmoid().numpy()
    given = np.where(LABELS.numpy() > 0, probabilities, 1 - probabilities)
    np.testing.assert_allclose(losses.numpy(), -np.log(given).sum(axis=1), rtol=1e-12)


def test_probabilities_are_recognised_and_give_the_same_losses() -> None:
    task = MultiLabel.of(LOGITS.sigmoid(), 3)
    assert task.outputs == "probabilities"
    torch.testing.assert_close(
        task.losses(LOGITS.sigmoid(), LABELS), MultiLabel.of(LOGITS, 3).losses(LOGITS, LABELS)
    )
    assert torch.isfinite(task.losses(torch.tensor([[1.0, 0, 0]]), 1 - LABELS[:1])).all()


def test_outputs_of_another_width_are_refused() -> None:
    with pytest.raises(ModelError, match=r"shape \(5, 2\) for 5 rows; expected \[5, 3\]"):
        MultiLabel.of(torch.zeros(5, 2), 3)


def test_a_planted_error_is_one_label_too_many_or_too_few() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (500, 4)).astype(np.int8)
    labels[:300] = 0
    predictions = np.full((500, 4), 0.01)
    predictions[:, 2] = 0.5  # what is easily confused is drawn more often, in half of the rows
    wrong = MultiLabel(4).wrong_labels(predictions, labels, generator)
    changed = wrong != labels
    assert (changed.sum(axis=1) == 1).all()
    assert set(np.unique(wrong)) == {0, 1}
    # Of one half .7, as the square roots of .5 and three times .01 say, of the other a quarter.
    assert changed[:300, 2].mean() == pytest.approx((0.7 + 0.25) / 2, abs=0.06)


def test_the_metric_is_the_share_of_labels_right() -> None:
    found = MultiLabel(3).metric(LOGITS.sigmoid().numpy(), LABELS.numpy())
    assert found.tolist() == [1.0, pytest.approx(2 / 3)]


def test_weights_and_smoothing_are_torchs_and_plain_losses_stay_plain() -> None:
    task, labels = Classification(3), torch.tensor([2, 0])
    weighted = WeightedClassification(task, (1.0, 2.0, 5.0), 0.1)
    expected = functional.cross_entropy(
        LOGITS,
        labels,
        torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64),
        label_smoothing=0.1,
        reduction="none",
    )
    torch.testing.assert_close(weighted.losses(LOGITS, labels), expected)
    plain = WeightedClassification(task, None, 0.0)
    torch.testing.assert_close(plain.losses(LOGITS, labels), task.losses(LOGITS, labels))


def test_weights_of_one_logit_are_those_of_its_two_classes() -> None:
    logit = torch.tensor([0.3, -2.0])
    two = torch.stack([torch.zeros(2), logit], dim=1)
    labels = torch.tensor([1, 0])
    one = WeightedClassification(Classification(2, "one logit"), (1.0, 3.0), 0.2)
    both = WeightedClassification(Classification(2), (1.0, 3.0), 0.2)
    torch.testing.assert_close(one.losses(logit, labels), both.losses(two, labels))


def test_present_labels_weigh_more() -> None:
    weighted = WeightedMultiLabel(MultiLabel(3), (1.0, 1.0, 4.0), 0.0)
    plain = MultiLabel(3).losses(LOGITS, LABELS)
    third = functional.softplus(-LOGITS[0, 2])
    torch.testing.assert_close(
        weighted.losses(LOGITS, LABELS) - plain, torch.stack([3 * third, 0 * third])
    )
    smoothed = WeightedMultiLabel(MultiLabel(3), None, 1.0).losses(LOGITS, LABELS)
    torch.testing.assert_close(
        smoothed, WeightedMultiLabel(MultiLabel(3), None, 1.0).losses(LOGITS, 1 - LABELS)
    )


CLASSES = ["a", "b", "c"]
EXPECTED = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    "values",
    [
        [["c", "a"], [], ["b"]],
        ["a|c", "", "b"],
        ["c | a", "(none)", "b"],
        ['["a", "c"]', "[]", '["b"]'],
        [np.array(["a", "c"], dtype=object), np.array([], dtype=object), np.array(["b"])],
    ],
)
def test_sets_are_read_in_every_form(values: list[object]) -> None:
    members, classes = sets_of_values(
        pd.Series(values, dtype=object), np.arange(3), "x", Reading(classes=CLASSES)
    )
    assert members.tolist() == EXPECTED
    assert classes == CLASSES


def test_sets_of_numbers_may_be_numpys() -> None:
    values = pd.Series([list(np.array([2, 0])), [], [np.float64(1)]], dtype=object)
    members, _ = sets_of_values(values, np.arange(3), "x", Reading(classes=[0, 1, 2]))
    assert members.tolist() == EXPECTED


def test_text_and_back() -> None:
    texts = [as_text(np.array(row), CLASSES) for row in EXPECTED]
    assert texts == ["a|c", "(none)", "b"]
    assert [from_text(text, CLASSES).tolist() for text in texts] == EXPECTED


def test_columns_of_zero_and_one() -> None:
    table = pd.DataFrame({"a": [1, 0, 0], "b": [False, False, True], "c": ["1", "0", "0"]})
    assert sets_of_columns(table, np.arange(3), "x", Reading())[0].tolist() == EXPECTED
    table["b"] = [0, 2, 1]
    with pytest.raises(DataError, match=r"column 'b': row 1 \(id 1\): found 2; expected 0 or 1"):
        sets_of_columns(table, np.arange(3), "x", Reading())
    table["b"] = pd.Series([0, 1 + 5j, 1], dtype=object)
    with pytest.raises(DataError, match=r"column 'b': row 1 \(id 1\): found \(1\+5j\); expected"):
        sets_of_columns(table, np.arange(3), "x", Reading())
    with pytest.raises(DataError, match=r"'a\|b' cannot be told apart in a set"):
        sets_of_columns(table[["a"]].rename(columns={"a": "a|b"}), np.arange(3), "x", Reading())


MARKS = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    "values",
    [
        MARKS,
        [np.array(row, dtype=np.float32) for row in MARKS],
        [[mark > 0 for mark in row] for row in MARKS],
        [json.dumps(row) for row in MARKS],
    ],
)
@pytest.mark.parametrize("classes", [CLASSES, None])
def test_lists_that_say_of_each_class_whether_it_is_there(
    values: list[object], classes: list[str] | None
) -> None:
    # Read as names, they would all be the set of 0 and 1.
    column = pd.Series(values, dtype=object)
    members, found = sets_of_values(column, np.arange(3), "x", Reading(classes=classes))
    assert members.tolist() == MARKS == EXPECTED
    assert list(found) == (classes or [0, 1, 2])


def test_lists_of_marks_are_refused_or_marked_as_columns_are() -> None:
    values = pd.Series([[1, 0, 0], None, [0, -1, 1]], dtype=object)
    reading = Reading(classes=CLASSES, tolerate=True, ignore=-1)
    members, _ = sets_of_values(values, np.arange(3), "x", reading)
    assert members.tolist() == [[1, 0, 0], [-1] * 3, [-2] * 3]
    with pytest.raises(DataError, match=r"lists of 3 zeros and ones for 2 classes; expected one"):
        sets_of_values(values[:1], np.arange(1), "x", Reading(classes=["a", "b"]))
    # Labels that are named stand in a list once.
    named = pd.Series([[0, 1], [1, 0], [1, 0]], dtype=object)
    assert sets_of_values(named, np.arange(3), "x", Reading())[0].tolist() == [[1, 1]] * 3


FORMS: dict[str, list[Any]] = {
    "numbers": [[0, 2], [1], [2]],
    "marks": MARKS,
    "fractions": [[float(mark) for mark in row] for row in MARKS],
    "truths": [[mark > 0 for mark in row] for row in MARKS],
    "cells": [json.dumps(row) for row in MARKS],
    "numbers in cells": ["[0, 2]", "[1]", "[2]"],
}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_corrections_are_written_in_the_form_of_the_file(
    tmp_path: Path, form: str, ending: str
) -> None:
    path, target = tmp_path / f"rows.{ending}", tmp_path / f"new.{ending}"
    frame = pd.DataFrame({"x": range(3), "tags": FORMS[form]})
    if ending == "csv":
        if not form.endswith("cells"):
            frame["tags"] = frame["tags"].map(json.dumps)
        frame.to_csv(path, index=False)
    elif ending == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    # As a finished audit is opened again: classes are texts.
    settings = ReadSettings("train", "tags", task="multi-label", classes=["0", "1", "2"])
    samples = open_samples(path, settings)
    before, after = samples.label_values()[1], "0|1"
    value = samples.source.take([1])["tags"].tolist()[0]
    new = samples.kind.corrected(after, before, value, ["0", "1", "2"])
    write_corrected(samples, Changes.to_values({1: new}), target).rename(target)
    again = open_samples(target, settings)
    assert again.label_values().tolist() == [
        samples.label_values()[0],
        after,
        samples.label_values()[2],
    ]
    cells = again.source.take([0, 1])["tags"].tolist()
    first, second = (json.loads(cell) if isinstance(cell, str) else list(cell) for cell in cells)
    assert type(first[0]) is type(second[0])
    assert not isinstance(first[0], str)


def test_what_is_no_set_is_refused_or_marked() -> None:
    values = pd.Series([["a"], ["a", "d"], None, ["-100"]], dtype=object)
    with pytest.raises(DataError, match=r"row 1 \(id 1\): label 'd' is not one of the classes"):
        sets_of_values(values[:2], np.arange(2), "x", Reading(classes=CLASSES))
    with pytest.raises(DataError, match=r"row 0 .*found None; expected a list of labels"):
        sets_of_values(values[2:3], np.arange(1), "x", Reading(classes=CLASSES))
    with pytest.raises(DataError, match=r"add the line `classes: \[a\]`"):
        sets_of_values(values[:1], np.arange(1), "x", Reading())
    members, _ = sets_of_values(
        values, np.arange(4), "x", Reading(classes=CLASSES, tolerate=True, ignore=-100)
    )
    assert members.tolist() == [[1, 0, 0], [-1, -1, -1], [-1, -1, -1], [-2, -2, -2]]

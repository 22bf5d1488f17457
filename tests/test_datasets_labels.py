"""Labels, classes and ids: what is taken, and the message for each row that is not."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError
from dataaudit.labels import classes as class_labels
from dataaudit.labels.classes import class_indices
from dataaudit.labels.kind import Reading


def taken(labels: Any, **changes: Any) -> Samples:
    frame = pd.DataFrame({"x": range(len(labels)), "y": labels})
    frame["name"] = [f"r{row}" for row in range(len(labels))]
    settings = ReadSettings("train", "y", id_column="name")
    return samples_from_object(frame, replace(settings, **changes))


def message(labels: Any, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        taken(labels, **changes)
    return str(caught.value).removeprefix("train (DataFrame): column 'y': ")


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        [2.0, 0.0, 1.0],
        np.array([2, 0, 1], dtype=np.uint8),
        pd.array([2, 0, 1], dtype="Int64"),
        pd.Series([2, 0.0, np.int8(1)], dtype=object),
        pd.Series([Decimal(2), Decimal("0.0"), Decimal(1)], dtype=object),
        pd.Categorical([2, 0, 1]),
    ],
)
def test_numbers_from_zero_need_no_classes(labels: Any) -> None:
    samples = taken(labels)
    assert samples.labels.tolist() == [2, 0, 1]
    assert samples.labels.dtype == np.int64
    assert samples.classes == [0, 1, 2]


def test_booleans_need_no_classes() -> None:
    samples = taken([True, False])
    assert samples.labels.tolist() == [1, 0]
    assert samples.classes == [0, 1]


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["a", "b"], ["b", "a"], [1, 0]),
        ([1, -1], [-1, 1], [1, 0]),
        ([1.0, 2.0], ["1", "2"], [0, 1]),
        (["1", "2"], [2, 1], [1, 0]),
        ([True, False], ["False", "True"], [1, 0]),
        ([True, False], ["true", "false"], [0, 1]),
        (["yes", "no"], ["no", "yes"], [1, 0]),
        ([1, 0], [True, False], [0, 1]),
        (["a"], ["b", "a", "c"], [1]),
    ],
)
def test_labels_are_matched_by_value_then_by_text(
    labels: list[Any], classes: list[Any], expected: list[int]
) -> None:
    samples = taken(labels, classes=classes)
    assert samples.labels.tolist() == expected
    assert samples.classes == classes


def test_class_numbers_are_not_taken_for_names() -> None:
    assert message([0, 1], classes=["ham", "spam"]) == (
        "row 0 (id r0): label 0 is not one of the classes [ham, spam]; labels are matched by value,"
        " class numbers are not translated into names"
    )


def test_unquoted_yes_and_no() -> None:
    assert message(["yes", "no"], classes=[False, True]) == (
        "row 0 (id r0): label 'yes' is not one of the classes [false, true]; YAML reads yes, no, on"
        " and off without quotes as true and false"
    )


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, "", pd.NaT])
def test_missing_labels(missing: Any) -> None:
    labels = pd.Series(["a", missing, "a", missing], dtype=object)
    assert message(labels, classes=["a"]) == (
        "row 1 (id r1): the label is missing (2 such rows); expected one in every row"
    )


def test_label_outside_the_classes_is_named_with_row_and_id() -> None:
    assert message(["a", "c", "b"], classes=["a", "b"]) == (
        "row 1 (id r1): label 'c' is not one of the classes [a, b]"
    )
    assert message(["c"], classes=["a", "b"], id_column=None) == (
        "row 0: label 'c' is not one of the classes [a, b]"
    )
    many = [f"class {number}" for number in range(30)]
    assert message(["c"], classes=many).endswith("class 18, class 19, ... (30 in all)]")


def test_what_classes_to_write_is_proposed() -> None:
    assert message(["b", "no", "a", "b"]) == (
        "labels are text; add the line `classes: [a, b, 'no']`, in the order of the model's outputs"
    )
    assert message([f"{number:02}" for number in range(25)]) == (
        "labels are text; add the line `classes: ['00', '01', '02', '03', '04', '05', '06', '07',"
        " 08, 09, '10', '11', '12', '13', '14', '15', '16', '17', '18', '19', ...]`, in the order"
        " of the model's outputs (20 of 25 values shown)"
    )
    assert message([1, -1]) == (
        "found label -1; expected class indices from 0 on, or the line `classes: [-1, 1]`, in the"
        " order of the model's outputs"
    )


def test_labels_that_are_no_classes() -> None:
    assert message([0.5, 1]) == (
        "found label 0.5; expected class labels (whole numbers or text) for task classification"
    )
    assert message([10**12]) == (
        "found label 1000000000000; expected class indices below 100000, or a line `classes: [...]`"
        " with the label values in the order of the model's outputs"
    )
    assert message([[1], [2]]) == "labels must be text or numbers, found a list"
    assert message([b"a"]) == "labels must be text or numbers, found a bytes"
    assert message([pd.Timestamp(0)]) == "labels must be text or numbers, found a Timestamp"


def test_targets() -> None:
    samples = taken([1, 2.5, -3], task="regression")
    assert samples.labels.tolist() == [1.0, 2.5, -3.0]
    assert samples.labels.dtype == np.float64
    assert samples.classes == []
    assert taken(["1.5", "2"], task="regression").labels.tolist() == [1.5, 2.0]
    assert message([1, None, np.nan], task="regression") == (
        "row 1 (id r1): the target is missing; expected a finite number in every row (2 such rows)"
    )
    assert message([1, np.inf], task="regression") == (
        "row 1 (id r1): target inf; expected a finite number in every row (1 such row)"
    )
    assert message(["1", "many"], task="regression") == (
        "row 1 (id r1): target 'many'; expected a finite number in every row (1 such row)"
    )
    # As a real number it would be 2.
    for values in (np.array([1, 2 + 3j]), pd.Series([1, 2 + 3j], dtype=object)):
        assert "(2+3j); expected a finite number" in message(values[::-1], task="regression")


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
    st.datetimes(),
    st.decimals(allow_nan=False),
    st.just(Decimal("NaN")),
    st.builds(np.array, st.lists(st.integers(0, 9), max_size=2)),
)


@settings(deadline=None)
@given(
    st.lists(ANYTHING, min_size=1, max_size=5), st.sampled_from(["classification", "regression"])
)
def test_any_labels_are_taken_or_refused(labels: list[Any], task: str) -> None:
    try:
        samples = taken(pd.Series(labels, dtype=object), task=task)
    except DataError:
        return
    assert len(samples.labels) == len(labels)


@settings(deadline=None)
@given(st.lists(ANYTHING, min_size=1, max_size=5))
def test_any_ids_are_taken_or_refused(ids: list[Any]) -> None:
    frame = pd.DataFrame({"id": pd.Series(ids, dtype=object), "y": 0})
    try:
        samples = samples_from_object(frame, ReadSettings("train", "y", id_column="id"))
    except DataError:
        return
    assert len(set(samples.ids.tolist())) == len(ids)
    assert samples.ids.tolist() == ids


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1))
def test_indices_point_at_the_label(labels: list[int]) -> None:
    names = ["a", "b", "c", "d", "e"]
    values = pd.Series([names[label] for label in labels])
    classes: list[str | int] = ["c", "b", "e", "d", "a"]
    indices, known = class_indices(values, np.arange(len(values)), "x", Reading(classes=classes))
    assert [known[index] for index in indices] == values.tolist()


@pytest.mark.parametrize("values", [
    pd.Series(["b", "a", None, "b", "c", "a", "c", "b"]),
    pd.Series([2, 0, 1, 1, 2, 0, 2]),
    pd.Series(["1", 1, 0, "0", 1, None, 0], dtype=object),
    pd.Series(["b", "a", "b", "c"], dtype="category"),
    pd.Series(["a"]),
])  # fmt: skip
def test_labels_are_told_apart_in_parts_as_in_one(
    values: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = sorted({str(value) for value in values.dropna()})
    classes = [int(name) for name in given] if given[0].isdigit() else given
    reading = Reading(classes=classes, tolerate=True)
    whole, _ = class_indices(values, np.arange(len(values)), "x", reading)
    monkeypatch.setattr(class_labels, "ROWS_AT_ONCE", 3)
    parts, _ = class_indices(values, np.arange(len(values)), "x", reading)
    assert parts.tolist() == whole.tolist()
    assert (parts >= 0).tolist() == values.notna().tolist()
    # A missing label is named by its row, whatever the part.
    if values.isna().any():
        with pytest.raises(DataError, match=f"row {int(np.flatnonzero(values.isna())[0])}"):
            class_indices(values, np.arange(len(values)), "x", Reading(classes=classes))


def ids_message(ids: Any) -> str:
    frame = pd.DataFrame({"id": ids, "y": 0})
    with pytest.raises(DataError) as caught:
        samples_from_object(frame, ReadSettings("train", "y", id_column="id"))
    return str(caught.value).removeprefix("train (DataFrame): column 'id': ")


def test_ids_keep_their_type() -> None:
    def ids(values: Any) -> Any:
        frame = pd.DataFrame({"id": values, "y": 0})
        return samples_from_object(frame, ReadSettings("train", "y", id_column="id")).ids

    assert ids([3, 1]).dtype == np.int64
    assert ids([3.0, 1.0]).tolist() == [3, 1]
    assert ids(["012", "12"]).tolist() == ["012", "12"]
    assert ids(pd.Series([3, 1], dtype=object)).dtype == np.int64


def test_ids_that_cannot_be_used() -> None:
    assert ids_message(["a", "b", "a", "b", "c", "c", "a", "a"]) == (
        "ids must be unique; repeated: a (rows 0 and 2), b (rows 1 and 3), c (rows 4 and 5), ..."
    )
    assert ids_message([7, 7]) == "ids must be unique; repeated: 7 (rows 0 and 1)"
    assert ids_message(["a", None, ""]) == (
        "the id is missing in 2 rows (row 1, 2); expected one in every row"
    )
    assert ids_message([1, np.nan]) == (
        "the id is missing in 1 row (row 1); expected one in every row"
    )
    assert ids_message([1.5, 2]) == (
        "row 0: ids must be whole numbers (64 bits) or text, found 1.5"
    )
    assert ids_message([1e300]) == (
        "row 0: ids must be whole numbers (64 bits) or text, found 1e+300"
    )
    assert ids_message([True, False]) == "ids must be whole numbers or text, found true/false"
    assert ids_message(pd.Series([1, "a"], dtype=object)) == (
        "row 0: ids must be all whole numbers or all text, found int '1'"
    )
    assert ids_message(pd.Series([True], dtype=object)) == (
        "row 0: ids must be all whole numbers or all text, found bool 'True'"
    )


def test_blanks_and_the_form_of_accents_are_no_difference() -> None:
    decomposed = unicodedata.normalize("NFD", "Äpfel")
    assert decomposed != "Äpfel"
    frame = pd.DataFrame({"a": range(4), "label": [decomposed, "Birne ", " Äpfel", "Birne"]})
    for classes in (["Birne", "Äpfel"], ["Birne", decomposed]):
        samples = samples_from_object(frame, ReadSettings("train", "label", classes=classes))
        assert samples.labels.tolist() == [1, 0, 1, 0]
    # Where two classes differ in nothing else, only the very text counts.
    names = ["Birne", "Birne ", "Äpfel", " Äpfel", decomposed]
    twins = ReadSettings("train", "label", classes=names)
    assert samples_from_object(frame, twins).labels.tolist() == [4, 1, 3, 0]
    with pytest.raises(DataError, match="label ' Birne' is not one of the classes"):
        samples_from_object(frame.replace("Birne", " Birne"), twins)

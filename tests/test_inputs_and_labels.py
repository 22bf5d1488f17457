"""`(X, y)` and frames as people hand them in: labels stay with their rows, whatever the types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.inputs import Loaded
from dataaudit.stages.loading import load_objects

ROWS = 60
GENERATOR = np.random.default_rng(5)
INPUTS = GENERATOR.normal(size=(ROWS, 4))
LABELS = (INPUTS[:, 0] > 0).astype(np.int64) + (INPUTS[:, 1] > 1)
ORDER = GENERATOR.permutation(ROWS)
NAMES = ["f0", "f1", "f2", "f3"]


def read(obj: Any, **settings: Any) -> Samples:
    return samples_from_object(obj, ReadSettings("train", "label", **settings))


def shuffled() -> pd.Series:
    """Labels as `sample(frac=1)` leaves them: in another order, their index with them."""
    return pd.Series(LABELS).iloc[ORDER]


LABEL_TYPES: dict[str, Callable[[pd.Series], Any]] = {
    "series": lambda labels: labels,
    "of strings": lambda labels: labels.astype(str),
    "category": lambda labels: labels.astype("category"),
    "nullable": lambda labels: labels.astype("Int64"),
    "pyarrow": lambda labels: labels.astype("int64[pyarrow]"),
    "of floats": lambda labels: labels.astype(float),
    "list": lambda labels: labels.tolist(),
    "tuple": lambda labels: tuple(labels),
    "array": lambda labels: labels.to_numpy(),
    "column": lambda labels: labels.to_numpy().reshape(-1, 1),
    "frame": lambda labels: labels.to_frame("target"),
    "categorical": lambda labels: pd.Categorical(labels),
    "extension array": lambda labels: labels.astype("Int64").array,
    "index": lambda labels: pd.Index(labels),
    "tensor": lambda labels: torch.tensor(labels.to_numpy()),
}
INPUT_TYPES: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda inputs: inputs,
    "tensor": torch.tensor,
    "list of arrays": list,
    "list of lists": lambda inputs: inputs.tolist(),
    "frame": lambda inputs: pd.DataFrame(inputs, columns=NAMES),
    "frame with numbers for names": pd.DataFrame,
    "frame with an index": lambda inputs: pd.DataFrame(inputs, index=[f"r{i}" for i in ORDER]),
    "csr": sparse.csr_matrix,
    "coo": sparse.coo_array,
}


@pytest.mark.parametrize("kind", LABEL_TYPES)
@pytest.mark.parametrize("inputs", INPUT_TYPES)
def test_every_row_keeps_its_label(kind: str, inputs: str) -> None:
    labels = LABEL_TYPES[kind](shuffled())
    settings = {"classes": ["0", "1", "2"]} if kind == "of strings" else {}
    samples = read((INPUT_TYPES[inputs](INPUTS[ORDER]), labels), **settings)
    assert samples.labels.tolist() == LABELS[ORDER].tolist()
    batch = samples.take([7, 3])
    found = batch.frame.drop(columns="label", errors="ignore")
    if samples.modality == "tensor":
        rows = np.stack([np.asarray(value) for value in found["input"]])
    else:
        rows = found.to_numpy(dtype=float)
    np.testing.assert_array_equal(rows, INPUTS[ORDER][[7, 3]])
    assert batch.labels.tolist() == LABELS[ORDER][[7, 3]].tolist()


@pytest.mark.parametrize("given", [list, tuple, np.array, pd.Series, lambda x: np.array(x, "T")])
def test_texts_and_their_labels(given: Callable[[list[str]], Any]) -> None:
    texts = [f"row {row} says something" for row in range(ROWS)]
    samples = read((given(texts), LABELS.tolist()))
    assert (samples.modality, samples.content_column) == ("text", "text")
    assert samples.take([9]).frame["text"].tolist() == [texts[9]]
    assert samples.labels.tolist() == LABELS.tolist()


def test_a_column_that_is_called_like_the_labels_stays_a_feature() -> None:
    frame = pd.DataFrame({"label": INPUTS[:, 0], "other": INPUTS[:, 1]})
    samples = read((frame, LABELS))
    assert samples.label_column == "label_"
    assert samples.labels.tolist() == LABELS.tolist()
    assert list(frame.columns) == ["label", "other"], "the user's own frame is left as it was"


MATRIX = np.column_stack([LABELS == 0, LABELS > 0]).astype(np.int64)


@pytest.mark.parametrize(
    "labels",
    [
        MATRIX,
        MATRIX.astype(np.float64),
        MATRIX > 0,
        torch.tensor(MATRIX),
        sparse.csr_matrix(MATRIX),
        pd.DataFrame(MATRIX, columns=["low", "high"]),
    ],
)
@pytest.mark.parametrize(
    "inputs", [INPUTS, pd.DataFrame(INPUTS, columns=NAMES), ["some text"] * ROWS]
)
def test_label_sets_may_be_a_matrix(labels: Any, inputs: Any) -> None:
    found = read((inputs, labels), task="multi-label")
    assert found.labels.tolist() == MATRIX.tolist()
    names = ["low", "high"] if isinstance(labels, pd.DataFrame) else [0, 1]
    assert list(found.classes) == names
    assert found.label_values()[0] == str(names[int(MATRIX[0, 1])])


def test_a_matrix_of_something_else_is_refused() -> None:
    for wrong in (2 * MATRIX, np.where(MATRIX > 0, np.nan, 0)):
        with pytest.raises(dataaudit.DataError, match=r"column [01]: row 0 .*; expected 0 or 1"):
            read((INPUTS, wrong), task="multi-label")
    with pytest.raises(dataaudit.DataError, match="2 label columns, but classes: names 3"):
        read((INPUTS, MATRIX), task="multi-label", classes=["a", "b", "c"])
    with pytest.raises(
        dataaudit.DataError, match="labels: a sparse matrix of 60 rows and 10000000"
    ):
        read((INPUTS, sparse.csr_matrix((60, 10_000_000))), task="multi-label")


def test_a_data_set_may_give_a_vector_of_labels() -> None:
    data = torch.utils.data.TensorDataset(torch.tensor(INPUTS), torch.tensor(MATRIX).float())
    # No list of names has one twice.
    data.tensors[1][0] = 1.0
    found = read(data, task="multi-label")
    assert found.labels.tolist() == [[1, 1], *MATRIX[1:].tolist()]
    with pytest.raises(dataaudit.DataError, match="expected one label, found an array of shape"):
        read(data)


def test_one_index_in_two_orders_is_refused() -> None:
    index = [f"r{row}" for row in range(ROWS)]
    frame = pd.DataFrame(INPUTS, columns=NAMES, index=index)
    labels = pd.Series(LABELS, index=index)
    assert read((frame, labels)).labels.tolist() == LABELS.tolist()
    with pytest.raises(dataaudit.DataError, match=r"the same index in two orders.*y\.loc\[X\.inde"):
        read((frame, labels.iloc[ORDER]))


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ((INPUTS, LABELS[:-1]), "expected as many labels as inputs, found 60 inputs and 59 labels"),
        ((INPUTS, INPUTS), r"expected one label for each row, found an array of shape \(60, 4\)"),
        ((INPUTS[:0], LABELS[:0]), "there are no rows"),
        (zip(INPUTS, LABELS, strict=True), r"found zip, which can be read only once"),
        ((row for row in INPUTS), r"found generator, which can be read only once"),
        ((sparse.csr_matrix((60, 10_000_000)), LABELS), "hand in the texts and a pipeline"),
    ],
)
def test_what_cannot_be_joined_is_refused(obj: Any, message: str) -> None:
    with pytest.raises(dataaudit.DataError, match=message):
        read(obj)


def test_the_index_of_a_frame_names_its_rows() -> None:
    frame = pd.DataFrame(INPUTS, columns=NAMES).assign(label=LABELS)
    assert read(frame.sample(frac=1, random_state=1)).ids.tolist() == (
        frame.sample(frac=1, random_state=1).index.tolist()
    )
    by_text = read(frame.set_axis([f"r{row}" for row in range(ROWS)]))
    assert by_text.ids.tolist()[:2] == ["r0", "r1"]
    assert read((frame[NAMES].iloc[20:], frame["label"].iloc[20:])).ids.tolist() == list(
        range(20, 60)
    )
    large = frame.set_axis(np.arange(ROWS) + 2**60 + 1)
    assert read(large).ids.tolist()[-1] == 2**60 + ROWS


@pytest.mark.parametrize(
    "index",
    [
        [0] * ROWS,
        [1.5 + row for row in range(ROWS)],
        pd.date_range("2026-01-01", periods=ROWS),
        pd.MultiIndex.from_product([range(6), range(10)]),
        [1, "1", *range(2, ROWS)],
        [np.nan, *range(1, ROWS)],
    ],
)
def test_an_index_that_names_no_row_is_passed_over(index: Any) -> None:
    frame = pd.DataFrame(INPUTS, columns=NAMES).assign(label=LABELS).set_axis(index)
    assert read(frame).ids.tolist() == list(range(ROWS))


@pytest.mark.parametrize(
    "kind", ["float64", "Int64", "int64[pyarrow]", "string", "category", "object"]
)
def test_a_missing_label_is_named_or_set_aside_whatever_its_type(kind: str) -> None:
    labels = pd.Series(LABELS).astype("Int64").astype(kind if kind != "category" else "Int64")
    labels[5] = np.nan if kind == "float64" else pd.NA
    labels = labels.astype(kind)
    frame = pd.DataFrame(INPUTS, columns=NAMES).assign(label=labels)
    classes = ["0", "1", "2"] if kind == "string" else None
    for data in (frame, (frame[NAMES], labels), (INPUTS, labels)):
        with pytest.raises(dataaudit.DataError, match=r"row 5: the label is missing \(1 such row"):
            read(data, classes=classes)
        loaded = load(LogisticRegression().fit(INPUTS, LABELS), data, bad_rows=True)
        aside = loaded.set_aside["train"]
        assert aside.positions.tolist() == [5]
        assert "missing" in aside.reasons[0]


def load(estimator: Any, train: Any, *, bad_rows: bool = False) -> Loaded:
    settings: dict[str, Any] = {"bad_rows": {"largest_share": 0.1}} if bad_rows else {}
    config = config_from_python("label", None, settings, None)
    splits = {"train": train, "held_out": None, "suspects": None}
    return load_objects(estimator, splits, None, config, trusting=True)


@pytest.mark.parametrize("fitted_on", ["array", "frame", "frame with numbers for names", "csr"])
@pytest.mark.parametrize("given", ["array", "frame", "frame with numbers for names", "csr"])
@pytest.mark.parametrize("kind", [LogisticRegression, RandomForestClassifier])
def test_an_estimator_is_given_what_it_was_fitted_on(
    kind: Any, fitted_on: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataaudit.models.distillation._SURROGATE_STEPS", 2)
    estimator = kind().fit(INPUT_TYPES[fitted_on](INPUTS), LABELS)
    if fitted_on == "frame" and given == "frame with numbers for names":
        with pytest.raises(
            dataaudit.DataError, match="columns that the data lacks: f0, f1, f2, f3"
        ):
            load(estimator, (INPUT_TYPES[given](INPUTS), LABELS))
        return
    loaded = load(estimator, (INPUT_TYPES[given](INPUTS), LABELS))
    assert loaded.check is not None
    assert loaded.check.accuracy_train == pytest.approx(estimator.score(
        INPUT_TYPES[fitted_on](INPUTS), LABELS
    ))  # fmt: skip


def test_texts_and_a_pipeline() -> None:
    words = np.array(["sour apple", "green pear", "blue plum"])
    texts = [f"{words[label]} number {row}" for row, label in enumerate(LABELS)]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, LABELS)
    loaded = load(pipeline, (texts, pd.Series(LABELS)))
    assert loaded.check is not None
    assert loaded.check.accuracy_train == 1.0


def test_a_whole_audit_of_arrays_and_of_a_shuffled_series() -> None:
    """Both are the same audit: nothing goes by the labels of an index."""
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=160)
    inputs = generator.normal(size=(160, 4)) + 3 * labels[:, None]
    given = labels.copy()
    wrong = generator.choice(100, 8, replace=False)
    given[wrong] = 1 - given[wrong]
    train, trusted, tested = slice(0, 100), slice(100, 150), slice(150, 160)
    estimator = LogisticRegression().fit(inputs[train], given[train])
    order = generator.permutation(100)
    series = pd.Series(given[train]).iloc[order]
    results = [
        dataaudit.audit(
            estimator,
            (inputs[train][order], handed_in),
            (inputs[trusted], labels[trusted]),
            (inputs[tested], labels[tested]),
        ).mislabels
        for handed_in in (series, series.to_numpy())
    ]
    pd.testing.assert_frame_equal(*results)
    assert results[0]["given_label"].tolist() == series.tolist()
    found = order[results[0].sort_values("rank").head(8)["row_id"].to_numpy()]
    assert len(set(found) & set(wrong)) >= 6


@pytest.mark.parametrize("kind", ["array", "tensor", "frame", "csr", "list of texts"])
@pytest.mark.parametrize("alone", [True, False])
def test_suspects_may_come_without_labels(kind: str, alone: bool) -> None:
    given: Any
    if kind == "list of texts":
        texts = [
            f"{'sour apple' if label else 'blue plum'} {row}" for row, label in enumerate(LABELS)
        ]
        model: Any = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, LABELS)
        train, given = (texts, LABELS), texts[:9]
    else:
        model = LogisticRegression().fit(INPUTS, LABELS)
        train, given = (INPUT_TYPES[kind](INPUTS), LABELS), INPUT_TYPES[kind](INPUTS[:9] + 1e-3)
    config = config_from_python("label", None, {}, None)
    suspects = given if alone else (given, None)
    splits = {"train": train, "held_out": None, "suspects": suspects}
    loaded = load_objects(model, splits, None, config)
    assert loaded.suspects is not None
    assert (len(loaded.suspects), loaded.suspects.labelled) == (9, False)
    if kind != "frame":
        with pytest.raises(dataaudit.DataError, match=r"train: found inputs without labels"):
            load_objects(model, {**splits, "train": suspects}, None, config)


def test_leaks_are_found_among_suspects_without_labels() -> None:
    estimator = LogisticRegression().fit(INPUTS, LABELS)
    suspects = np.concatenate([INPUTS[:4], GENERATOR.normal(size=(30, 4))])
    result = dataaudit.audit(estimator, (INPUTS, LABELS), suspects=suspects, mirror={"steps": 5})
    found = result.contamination.query("flagged")
    assert set(found["query_id"]) >= {0, 1, 2, 3}

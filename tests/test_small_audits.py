"""Small audits of many kinds: right and without a foreign word, or refused by one message."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import dataaudit

NAMES = ["f0", "f1", "f2", "f3"]
ROWS, TRUSTED, SUSPECTS, COPIES = 160, 80, 40, 4


def blobs(rows: int, seed: int, wrong: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return three blobs; the labels of the first `wrong` rows are wrong."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, rows)
    centres = np.random.default_rng(99).normal(0, 2.2, (3, 4))
    inputs = (centres[labels] + generator.normal(0, 1, (rows, 4))).astype(np.float32)
    labels[:wrong] = (labels[:wrong] + 1) % 3
    return inputs, labels


X, Y = blobs(ROWS, 0, wrong=12)
XH, YH = blobs(TRUSTED, 1)
XS, YS = blobs(SUSPECTS, 2)
XS[:COPIES], YS[:COPIES] = X[-COPIES:], Y[-COPIES:]
WORDS = np.array(["low", "mid", "high"])


def frame(inputs: np.ndarray, labels: Any) -> pd.DataFrame:
    return pd.DataFrame(inputs, columns=NAMES).assign(label=labels)


TRAIN, HELD_OUT, TEST = frame(X, Y), frame(XH, YH), frame(XS, YS)


def numbers(rows: pd.DataFrame) -> Tensor:
    return torch.tensor(rows[NAMES].to_numpy(dtype="float32", copy=True))


def _trained() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(60):
        loss = nn.functional.cross_entropy(module(torch.tensor(X)), torch.tensor(Y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


NET = _trained()


class Told(nn.Module):
    """The same model, which says what it knows in another way."""

    def __init__(self, tell: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.net, self.tell = NET, tell

    def forward(self, inputs: Tensor) -> Any:
        return self.tell(inputs, self.net(inputs))


def audited(*splits: Any, model: Any = NET, **options: Any) -> dataaudit.AuditResult:
    frames = all(isinstance(split, pd.DataFrame) for split in splits)
    given = {"mirror": {"steps": 20}, "preprocess": numbers if frames else None}
    return dataaudit.audit(model, *splits, **{**given, **options})


def right(result: dataaudit.AuditResult) -> bool:
    """Whether most of the wrong labels were flagged, and few others."""
    flagged = np.flatnonzero(result.mislabels["flagged"])
    return (flagged < 12).sum() >= 8 and (flagged >= 12).sum() <= 4


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Let no library's warning, and no word on stderr, pass."""
    with warnings.catch_warnings(record=True) as said:
        for kind in (UserWarning, RuntimeWarning, FutureWarning):
            warnings.simplefilter("always", kind)
        yield
    assert [f"{each.category.__name__}: {each.message}" for each in said] == []
    assert capfd.readouterr().err == ""


OUTPUTS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "logits": lambda x, z: z,
    "log-probabilities": lambda x, z: z.log_softmax(1),
    "probabilities": lambda x, z: z.softmax(1),
    "one more dimension": lambda x, z: z[:, None],
    "a dictionary": lambda x, z: {"features": x, "out": z},
    "a temperature": lambda x, z: z / 5,
    "double": lambda x, z: z.double(),
    "half": lambda x, z: z.half(),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_what_outputs_are_makes_no_difference(kind: str) -> None:
    assert right(audited(TRAIN, HELD_OUT, model=Told(OUTPUTS[kind])))


LABELS: dict[str, Callable[[np.ndarray], Any]] = {
    "ordered categories": lambda y: pd.Categorical(WORDS[y], categories=WORDS, ordered=True),
    "numpy strings": lambda y: WORDS[y],
    "decimals": lambda y: [Decimal(int(each)) for each in y],
    "pyarrow": lambda y: pd.Series(y).astype("int64[pyarrow]"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_types_of_labels(kind: str) -> None:
    classes = {"classes": WORDS.tolist()} if kind in ("ordered categories", "numpy strings") else {}
    result = audited(frame(X, LABELS[kind](Y)), frame(XH, LABELS[kind](YH)), **classes)
    assert right(result)
    assert [str(each) for each in result.mislabels["given_label"]] == [
        str(WORDS[each] if classes else each) for each in Y
    ]


def tensors(inputs: np.ndarray, labels: np.ndarray) -> TensorDataset:
    return TensorDataset(torch.tensor(inputs), torch.tensor(labels))


SPLITS: dict[str, Callable[[], Any]] = {
    "list of pairs": lambda: list(zip(X, Y, strict=True)),
    "tensor data set": lambda: tensors(X, Y),
    "subset": lambda: Subset(tensors(X, Y), range(ROWS)),
    "loader": lambda: DataLoader(tensors(X, Y), batch_size=16),
    "shuffling loader": lambda: DataLoader(tensors(X, Y), batch_size=16, shuffle=True),
    "sparse": lambda: (sparse.csr_matrix(X), Y),
}


@pytest.mark.parametrize("kind", SPLITS)
def test_kinds_of_splits(kind: str) -> None:
    assert right(audited(SPLITS[kind](), (XH, YH)))


ESTIMATORS: dict[str, Callable[[], Any]] = {
    "naive Bayes": GaussianNB,
    "neighbours": KNeighborsClassifier,
    "calibrated": lambda: CalibratedClassifierCV(LinearSVC(), cv=3),
    "margins": LinearSVC,
    "descent": lambda: SGDClassifier(random_state=0),
    "search": lambda: GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2),
    "trees": lambda: HistGradientBoostingClassifier(max_iter=5),
    "votes": lambda: VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())]),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_kinds_of_estimators(kind: str) -> None:
    model = ESTIMATORS[kind]().fit(TRAIN[NAMES], Y)
    assert right(dataaudit.audit(model, TRAIN, HELD_OUT))


def test_a_fit_that_does_not_converge_is_no_foreign_word() -> None:
    scale = np.array([12, 20000, 1, 0.01])
    splits = [frame(X * scale, Y), frame(XH * scale, YH)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(max_iter=20).fit(splits[0][NAMES], Y)
    dataaudit.audit(model, *splits)


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_frames_of_other_backends(backend: Any) -> None:
    model = LogisticRegression().fit(TRAIN[NAMES], Y)
    splits = [each.convert_dtypes(dtype_backend=backend) for each in (TRAIN, HELD_OUT)]
    assert right(dataaudit.audit(model, *splits))


ODD: dict[str, Callable[[], Any]] = {
    "one trusted sample": lambda: audited(TRAIN, HELD_OUT[:1]),
    "one row": lambda: audited(TRAIN[-1:], HELD_OUT),
    "rows of one class": lambda: audited(TRAIN[TRAIN.label == 0], HELD_OUT),
    "features that say nothing": lambda: audited(
        *(each.assign(**dict.fromkeys(NAMES, 1.0)) for each in (TRAIN, HELD_OUT, TEST)),
        model=Told(lambda x, z: z + torch.tensor([0.0, 1.0, 2.0])),
    ),
    "weights that differ much": lambda: audited(
        TRAIN, HELD_OUT, loss={"class_weights": [1e30, 1.0, 1.0]}
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_can_hardly_be_judged_is_no_error(kind: str) -> None:
    labels = ODD[kind]().report.labels
    assert labels is None or labels.outcome in ("cannot tell", "found")


def test_values_near_the_end_of_what_floats_hold() -> None:
    def huge(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(f0=table["f0"].astype(float) * 1e200)

    model = GaussianNB().fit(TRAIN[NAMES], Y)
    result = dataaudit.audit(model, TRAIN, HELD_OUT, huge(TEST))
    assert len(result.mislabels) == ROWS


def test_suspects_alone_and_in_other_types() -> None:
    alone = audited((X, Y), (XH, YH), XS)
    assert alone.report.leakage is not None
    assert alone.report.leakage.exact_copies == COPIES
    told = TRAIN.assign(f0=TRAIN["f0"] > 0), HELD_OUT.assign(f0=HELD_OUT["f0"] > 0)
    counted = TEST.assign(f0=(TEST["f0"] > 0).astype(int))
    typed = audited(*told, counted).report.leakage
    assert typed is not None
    assert typed.exact_copies == COPIES


def test_rows_are_found_again_by_their_index() -> None:
    shuffled = TRAIN.sample(frac=1, random_state=3)
    found = audited(shuffled, HELD_OUT).mislabels
    assert found["row_id"].tolist() == shuffled.index.tolist()
    assert found["given_label"].tolist() == shuffled["label"].tolist()


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "bytes": (
        lambda: audited(TRAIN.assign(label=[b"%d" % each for each in Y]), HELD_OUT),
        "labels must be text or numbers|found b'|bytes",
    ),
    "dates": (lambda: audited(TRAIN.assign(label=pd.Timestamp("2020-01-01")), HELD_OUT), "label"),
    "one column for each class": (
        lambda: audited((X, np.eye(3)[Y]), (XH, np.eye(3)[YH])),
        "expected one label for each row",
    ),
    "counted from one": (
        lambda: audited(TRAIN.assign(label=Y + 1), HELD_OUT.assign(label=YH + 1)),
        "classes",
    ),
    "generator": (
        lambda: audited(((x, y) for x, y in zip(X, Y, strict=True)), HELD_OUT),
        r"pass list\(...\) of it",
    ),
    "dictionary": (lambda: audited({"x": X, "y": Y}, HELD_OUT), "expected a pandas DataFrame"),
    "names of two levels": (
        lambda: audited(
            TRAIN.set_axis(pd.MultiIndex.from_product([["a"], TRAIN.columns]), axis=1), HELD_OUT
        ),
        "label",
    ),
    "names twice": (
        lambda: audited(TRAIN.set_axis(["f0", "f0", "f2", "f3", "label"], axis=1), HELD_OUT),
        "two columns are called 'f0'",
    ),
    "no labels to train on": (lambda: audited(TRAIN.assign(label=None), HELD_OUT), "label"),
    "no trusted labels": (lambda: audited(TRAIN, HELD_OUT.drop(columns="label")), "label"),
    "not fitted": (lambda: dataaudit.audit(LogisticRegression(), TRAIN, HELD_OUT), "fit"),
    "a class of models": (lambda: audited(TRAIN, HELD_OUT, model=nn.Linear), "expected"),
    "weights": (lambda: audited(TRAIN, HELD_OUT, model=NET.state_dict()), "expected"),
    "a function": (lambda: audited(TRAIN, HELD_OUT, model=lambda rows: rows), "expected"),
    "a regressor": (
        lambda: dataaudit.audit(LinearRegression().fit(X, Y), (X, Y), (XH, YH)),
        "regress",
    ),
    "weights without end": (
        lambda: audited(TRAIN, HELD_OUT, loss={"class_weights": [1e300, 1e-300, 1]}),
        "class_weights",
    ),
    "an infinite feature": (
        lambda: audited(TRAIN.assign(f1=[np.inf, *TRAIN["f1"][1:]]), HELD_OUT),
        "",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_used_is_refused_by_one_message(kind: str) -> None:
    audit, said = REFUSED[kind]
    with pytest.raises(dataaudit.DataAuditError, match=said) as caught:
        audit()
    assert len(str(caught.value)) < 1000

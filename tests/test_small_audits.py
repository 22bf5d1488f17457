"""Small audits of many kinds: right and without a foreign word, or refused by one message."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from torch import Tensor, nn

import dataaudit
from dataaudit.datasets import samples
from dataaudit.mirror import queries

NAMES = ["f0", "f1", "f2", "f3"]
ROWS, TRUSTED, SUSPECTS, COPIES, WRONG = 160, 80, 40, 4, 12


def blobs(rows: int, seed: int, wrong: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return three blobs; the labels of the first `wrong` rows are wrong."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, rows)
    centres = np.random.default_rng(99).normal(0, 2.2, (3, 4))
    inputs = (centres[labels] + generator.normal(0, 1, (rows, 4))).astype(np.float32)
    labels[:wrong] = (labels[:wrong] + 1) % 3
    return inputs, labels


X, Y = blobs(ROWS, 0, wrong=WRONG)
XH, YH = blobs(TRUSTED, 1)
XS, YS = blobs(SUSPECTS, 2)
XS[:COPIES], YS[:COPIES] = X[-COPIES:], Y[-COPIES:]


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


def audited(*splits: Any, model: Any = NET, **options: Any) -> dataaudit.AuditResult:
    frames = all(isinstance(split, pd.DataFrame) for split in splits)
    given = {"mirror": {"steps": 20}, "preprocess": numbers if frames else None}
    return dataaudit.audit(model, *splits, **{**given, **options})


def right(result: dataaudit.AuditResult) -> bool:
    """Whether most of the rows that are ranked first are those whose labels are wrong."""
    first = result.mislabels.sort_values("rank").index[:WRONG]
    return bool((first < WRONG).sum() >= 0.7 * WRONG)


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Let no library's warning, and no word on stderr, pass."""
    with warnings.catch_warnings(record=True) as said:
        for kind in (UserWarning, RuntimeWarning, FutureWarning):
            warnings.simplefilter("always", kind)
        yield
    assert [f"{each.category.__name__}: {each.message}" for each in said] == []
    # On a slow machine an audit says how far it is.
    words = capfd.readouterr().err.splitlines()
    assert [line for line in words if not line.endswith(" left")] == []


def test_an_estimator_of_others_on_a_frame_of_another_backend() -> None:
    votes = [("a", LogisticRegression()), ("b", GaussianNB())]
    splits = [each.convert_dtypes(dtype_backend="pyarrow") for each in (TRAIN, HELD_OUT)]
    model = VotingClassifier(votes, voting="soft").fit(TRAIN[NAMES], Y)
    assert right(dataaudit.audit(model, *splits))


def test_raw_units_and_a_fit_that_does_not_converge() -> None:
    scale, start = np.array([12, 20000, 1, 0.01]), np.array([40, 50000, 0, 0])
    splits = [frame(X * scale + start, Y), frame(XH * scale + start, YH)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(max_iter=200).fit(splits[0][NAMES], Y)
    assert right(dataaudit.audit(model, *splits))


def test_large_inputs_go_through_the_model_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counting(rows: pd.DataFrame) -> Tensor:
        made.append(len(rows))
        return numbers(rows)

    given: dict[str, Any] = {"mirror": {"steps": 20, "batch_size": 8}, "preprocess": counting}
    whole = audited(TRAIN, HELD_OUT, TEST, **given)
    assert max(made) > 64
    made.clear()
    # As if eight rows of four numbers filled the memory; blocks of steps are bounded apart.
    monkeypatch.setattr(samples, "MOST_INPUT_BYTES", 8 * 4 * 4)
    monkeypatch.setattr(queries, "PREPARED_BYTES", 0)
    few = audited(TRAIN, HELD_OUT, TEST, **given)
    assert max(made) == 8
    pd.testing.assert_frame_equal(whole.mislabels, few.mislabels, rtol=1e-5, atol=1e-6)
    # How a loss moves by one step is a small difference of large numbers.
    same = ["query_id", "row_id", "rank", "score", "flagged"]
    pd.testing.assert_frame_equal(whole.contamination[same], few.contamination[same])


class Tagger(nn.Module):
    """A tag for each of eight words, whatever stands beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(4 * torch.eye(8, 3), freeze=False)

    def forward(self, words: Tensor) -> Tensor:
        found: Tensor = self.words(words)
        return found


def tagged(rows: int, seed: int) -> pd.DataFrame:
    words = np.random.default_rng(seed).integers(0, 8, (rows, 5))
    tags = np.where(words < 3, words, 0)
    return pd.DataFrame(
        {
            "words": [[f"w{word}" for word in row] for row in words],
            "tags": [["ABC"[tag] for tag in row] for row in tags],
        }
    )


def word_numbers(rows: pd.DataFrame) -> Tensor:
    return torch.tensor([[int(word[1:]) for word in words] for words in rows["words"]])


ODD: dict[str, Callable[[], Any]] = {
    "one row": lambda: audited(TRAIN[:1], HELD_OUT, TEST),
    "a few tagged rows": lambda: audited(
        *(tagged(rows, seed) for seed, rows in enumerate((22, 12, 10))),
        model=Tagger(),
        preprocess=word_numbers,
        task="token-classification",
        label="tags",
        classes=["A", "B", "C"],
    ),
    "one trusted sample": lambda: audited(TRAIN, HELD_OUT[:1]),
    "features that say nothing": lambda: audited(
        *(each.assign(**dict.fromkeys(NAMES, 1.0)) for each in (TRAIN, HELD_OUT, TEST))
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_can_hardly_be_judged_is_no_error(kind: str) -> None:
    labels = ODD[kind]().report.labels
    assert labels is None or labels.outcome in ("cannot tell", "found")


def test_suspects_of_another_type_without_labels_and_ids() -> None:
    named = TRAIN.assign(key=[f"r{n}" for n in range(ROWS)])
    model = LogisticRegression().fit(TRAIN[NAMES] > 0, Y)
    told = [each.assign(**(each[NAMES] > 0)) for each in (named, HELD_OUT)]
    suspects = (TEST[NAMES] > 0).astype(int).assign(note="further")
    result = dataaudit.audit(model, *told, suspects, id="key")
    assert result.report.leakage is not None
    assert result.report.leakage.exact_copies >= COPIES
    assert result.mislabels["row_id"].tolist() == named["key"].tolist()


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
    "a module that was not begun": (
        lambda: audited(TRAIN, HELD_OUT, model=object.__new__(Tagger)),
        r"weights of Tagger cannot be read.*super\(\).__init__\(\)",
    ),
    "a target whose square is infinite": (
        lambda: dataaudit.audit(
            LinearRegression().fit(X, Y),
            (X, np.where(np.arange(ROWS), Y, 1e200)),
            (XH, YH * 1.0),
            task="regression",
        ),
        r"target 1e\+200; expected a finite number in every row, 1e\+100 at most in size",
    ),
    "a function": (lambda: audited(TRAIN, HELD_OUT, model=lambda rows: rows), "expected"),
    "a regressor": (
        lambda: dataaudit.audit(LinearRegression().fit(X, Y), (X, Y), (XH, YH)),
        "neither predict_proba nor decision_function",
    ),
    "weights without end": (
        lambda: audited(TRAIN, HELD_OUT, loss={"class_weights": [1e300, 1e-300, 1]}),
        r"class_weights.*expected a weight between",
    ),
    "an infinite feature": (
        lambda: audited(TRAIN.assign(f1=[np.inf, *TRAIN["f1"][1:]]), HELD_OUT),
        r"row 0 \(id 0\): preprocess returned NaN or infinite",
    ),
    "more than single precision holds": (
        lambda: dataaudit.audit(
            GaussianNB().fit(TRAIN[NAMES], Y), TRAIN, HELD_OUT, TEST[NAMES].astype(float) * 1e200
        ),
        "NaN or infinite values",
    ),
    "no groups": (
        lambda: audited(TRAIN.assign(town="a"), HELD_OUT, TEST, group="town"),
        "no group column 'town'",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_used_is_refused_by_one_message(kind: str) -> None:
    audit, said = REFUSED[kind]
    with pytest.raises(dataaudit.DataAuditError, match=said) as caught:
        audit()
    assert len(str(caught.value)) < 1000

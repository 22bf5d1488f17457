"""What a notebook shows of a result, and how flagged rows are found in the user's own frame."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import dataaudit

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(2, size=200)
INPUTS = GENERATOR.normal(size=(200, 3)) + 3 * LABELS[:, None]
GIVEN = LABELS.copy()
GIVEN[:12] = 1 - GIVEN[:12]
FRAME = pd.DataFrame(INPUTS, columns=["<b>a", "score", "c"]).assign(label=GIVEN)


def audited(train: pd.DataFrame, **settings: str) -> dataaudit.AuditResult:
    estimator = LogisticRegression().fit(INPUTS[:140], GIVEN[:140])
    held_out = (INPUTS[140:], LABELS[140:])
    features = ["<b>a", "score", "c"]
    return dataaudit.audit(
        estimator,
        train,
        held_out,
        preprocess=lambda frame: (
            frame[features].to_numpy() if "c" in frame else np.stack(frame["input"].tolist())
        ),
        mirror={"steps": 10},
        **settings,
    )


TRAIN = FRAME.iloc[:140].sample(frac=1, random_state=1)
RESULT = audited(TRAIN)


def test_a_result_takes_a_few_lines() -> None:
    shown = repr(RESULT)
    assert shown == str(RESULT)
    assert shown.startswith("AuditResult of audit: ")
    assert "of 140 training rows flagged" in shown
    assert len(shown) < 1000
    assert shown.count("\n") < 12


def test_a_notebook_shows_findings_and_the_first_rows() -> None:
    page = RESULT._repr_html_()
    assert page.count("<tr") == 1 + min(10, int(RESULT.mislabels["flagged"].sum()))
    assert len(page) < 20_000
    nasty = dataaudit.AuditResult(
        RESULT.mislabels.assign(given_label="<script>alert(1)</script>"),
        RESULT.contamination,
        RESULT.set_aside,
        RESULT.report,
    )
    assert "<script>" not in nasty._repr_html_()


@pytest.mark.parametrize("kind", ["shuffled index", "column", "text index", "positions"])
def test_flagged_rows_are_found_in_the_users_frame(kind: str) -> None:
    train = TRAIN
    settings = {}
    if kind == "column":
        train = TRAIN.assign(number=[f"n{row}" for row in range(140)])
        settings = {"id": "number"}
    elif kind == "text index":
        train = TRAIN.set_axis([f"r{row}" for row in range(140)])
    elif kind == "positions":
        train = TRAIN.set_axis([0] * 140)
    result = RESULT if kind == "shuffled index" else audited(train, **settings)
    found = result.flagged(train)
    assert len(found) == int(result.mislabels["flagged"].sum()) > 5
    assert found["rank"].is_monotonic_increasing
    assert found["given_label"].tolist() == found["label"].tolist()
    assert "data_score" in found
    if kind in ("shuffled index", "text index"):
        pd.testing.assert_frame_equal(found[["<b>a", "c"]], train.loc[found.index, ["<b>a", "c"]])
        assert found.index.tolist() == found["row_id"].tolist()
    assert result.flagged()["row_id"].tolist() == found["row_id"].tolist()


def test_other_rows_are_refused() -> None:
    for data, message in [
        (TRAIN.iloc[:-1], "found 139 rows, expected the 140 training rows"),
        (TRAIN.iloc[::-1], "not those that were audited, or are in another order"),
        (TRAIN.reset_index(drop=True), "not those that were audited"),
    ]:
        with pytest.raises(dataaudit.DataError, match=message):
            RESULT.flagged(data)
    with pytest.raises(dataaudit.DataError, match="found list"):
        RESULT.flagged([1, 2])  # type: ignore[arg-type]


def test_the_page_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    path = RESULT.show()
    assert opened == [path.as_uri()]
    assert path.read_text(encoding="utf-8").startswith("<!")
    path.unlink()
    Path(path.parent).rmdir()


def test_the_public_names_are_listed_before_anything_is_imported() -> None:
    script = (
        "import dataaudit; names = dir(dataaudit); "
        "assert names == sorted(dataaudit.__all__), names; "
        "[getattr(dataaudit, name) for name in names]; print(' '.join(names))"
    )
    listed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    results = {"AuditResult", "Influence", "MemorizationResult", "VerificationResult"}
    errors = {"ConfigError", "DataError", "EngineError", "ModelError", "RunDirectoryError"}
    assert set(listed) >= {"audit", *results, *errors}

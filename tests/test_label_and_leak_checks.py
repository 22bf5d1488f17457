"""Wrong labels and leaks are checks like the others: limited, listed and turned off by name."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import dataaudit
from dataaudit.checks.labels import issues_of
from dataaudit.errors import ConfigError

FEATURES = list("abcdef")
DATA = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def data() -> DATA:
    """Return 300 rows of which 12 have the wrong label, and suspects of which 3 are copies."""
    generator = np.random.default_rng(0)

    def rows(count: int) -> pd.DataFrame:
        frame = pd.DataFrame(generator.normal(size=(count, 6)), columns=FEATURES)
        return frame.assign(label=(frame["a"] > 0).astype(int))

    train, held_out, suspects = rows(300), rows(100), rows(40)
    train.loc[:11, "label"] = 1 - train.loc[:11, "label"]
    suspects.loc[:2, FEATURES] = train.loc[:2, FEATURES].to_numpy()
    return {"train": train, "held_out": held_out, "suspects": suspects}


def audited(data: DATA, model: object, **settings: object) -> dataaudit.AuditResult:
    return dataaudit.audit(model, **data, **settings)


@pytest.fixture(scope="module")
def model(data: DATA) -> LogisticRegression:
    return LogisticRegression().fit(data["train"][FEATURES], data["train"]["label"])


def test_where_nothing_is_suggested_nothing_is_said_to_be_likelier() -> None:
    table = pd.DataFrame(
        {
            "row_id": [3, 4, 5],
            "given_label": ["an answer", "b", "c"],
            "suggested_label": ["an answer", "d", None],
            "score": [2.0, 1.0, 0.5],
            "flagged": True,
            "rank": [1, 2, 3],
        }
    )
    assert [issue.what for issue in issues_of(table)] == [
        "given an answer, probably wrong",
        "given b, more likely d",
        "given c, probably wrong",
    ]


def test_what_was_flagged_is_listed_and_limited_like_all_else(
    data: DATA, model: LogisticRegression
) -> None:
    result = audited(data, model, gates={"checks": {"labels": 0, "leaks": 3}})
    issues = result.issues.groupby("check")["row_id"].agg(list)
    flagged = result.mislabels[result.mislabels["flagged"]].sort_values("rank")
    assert issues["labels"] == [str(row) for row in flagged["row_id"]]
    assert issues["leaks"] == ["0", "1", "2"]
    line = result.issues[result.issues["check"] == "labels"].iloc[0]
    first = flagged.iloc[0]
    given, suggested = first["given_label"], first["suggested_label"]
    assert line["what"] == f"given {given}, more likely {suggested}"
    assert line["score"] == first["score"]
    gates = {gate.name: gate for gate in result.report.verdict.gates}
    assert gates["labels"].outcome == "not met"
    assert gates["labels"].found == len(flagged)
    assert gates["leaks"].outcome == "met"
    # They have pages of their own.
    assert not {"labels", "leaks"} & {check.name for check in result.report.checks}


def test_labels_and_leaks_are_turned_off_by_name(data: DATA, tmp_path: Path) -> None:
    network = nn.Linear(6, 2)
    # One that knows the labels: random weights may be worse than chance, and are refused then.
    network.load_state_dict({"weight": torch.eye(6)[:1] * torch.tensor([[-2.0], [2.0]]),
                             "bias": torch.zeros(2)})  # fmt: skip
    off = {"labels": False, "leaks": False}
    result = audited(data, network, checks=off, out=tmp_path / "out")
    assert result.report.labels is None
    assert result.report.leakage is None
    assert not result.mislabels["flagged"].any()
    assert result.mislabels["row_id"].tolist() == list(range(300))
    assert result.contamination.empty
    assert not result.issues["check"].isin(["labels", "leaks"]).any()
    assert "Turned off by `checks:`, and not looked for: labels, leaks" in (
        result.report.coverage.notes
    )
    stages = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["stages"]
    # The trained model alone was run, and learned nothing.
    assert stages["mirror"]["passes"] == 0
    assert stages["score"]["passes"] <= 440 / 300 + 0.01
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Label errors were not looked for" in page
    assert "Leaks were not looked for" in page


@pytest.mark.parametrize(
    ("gates", "named"),
    [
        ({"mislabel_rate": 0.1}, r"gates\.mislabel_rate"),
        ({"checks": {"labels": 3}}, r"gates\.checks\.labels"),
        ({"checks": {"order": 3}}, r"gates\.checks\.order"),
    ],
)
def test_what_is_turned_off_cannot_be_limited(
    data: DATA, model: LogisticRegression, gates: dict[str, object], named: str
) -> None:
    off = {"labels": False, "order": False}
    with pytest.raises(ConfigError, match=rf"{named}: a limit on what `checks: {{"):
        audited(data, model, checks=off, gates=gates)

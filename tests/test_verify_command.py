"""`dataaudit verify` and `dataaudit.verify`: page, JSON, points, and what they say."""

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine, Project, fruit
from report_examples import HOSTILE
from scipy.stats import pearsonr
from sklearn.linear_model import LogisticRegression
from torch import nn

import dataaudit
from dataaudit.errors import ConfigError, DataError
from dataaudit.report.charts.scatter import MOST_POINTS, scatter
from dataaudit.report.data import Estimate
from dataaudit.studies.verification.conclusion import conclusion
from dataaudit.studies.verification.data import (
    SCHEMA_PATH,
    MirrorAgreement,
    Verification,
    schema_text,
)
from dataaudit.studies.verification.page import render_verification

FEATURES = ["width", "height", "weight"]


@pytest.fixture(scope="module")
def verified():
    train, held_out = fruit(160, 0), fruit(60, 1)
    estimator = LogisticRegression(C=0.1).fit(train[FEATURES], train["kind"])
    settings = dataaudit.VerifySettings(groups=6, group_size=10, query_groups=3)
    return dataaudit.verify(
        estimator, train, held_out, label="kind", settings=settings, name="fruit"
    )


def test_influence_can_be_trusted_for_a_logistic_regression(verified) -> None:
    report = verified.report
    assert report.trust in ("strong", "fair")
    assert report.repeats == 1
    assert report.trainings == 1 + 3 * 7 + 1 + 3
    by_kind = {(item.design, item.mirror): item for item in report.agreements}
    assert len(by_kind) == 9
    for design in ("random", "graded"):
        assert by_kind[design, "retrained"].pearson.estimate > 0.98
        assert by_kind[design, "retrained"].ceiling is None
    assert by_kind["halves", "rehearsed"].rows_per_group == 80


def test_points_hold_what_the_correlations_say(verified) -> None:
    points = verified.points
    assert len(points) == 3 * 6 * 3
    random = points[points["design"] == "random"]
    assert set(random["rows_left_out"]) == {10}
    found = next(
        item
        for item in verified.report.agreements
        if (item.design, item.mirror) == ("random", "rehearsed")
    )
    expected = pearsonr(random["influence"], random["mirrored_rehearsed"]).statistic
    assert found.pearson.estimate == pytest.approx(expected)


def test_the_command(project: Project, command_line: CommandLine, tmp_path) -> None:
    out, calls = tmp_path / "verified", tmp_path / "calls"
    counting = f"def build():\n    open({str(calls)!r}, 'a').write('called ')\n"
    project.replace("fruit_model.py", "def build():\n", counting)
    small = ("--groups", 4, "--group-size", 20, "--rows", 120, "--epochs", 1, "--repeats", 1)
    outcome = command_line("verify", project.yaml, "--out", out, *small)
    assert (outcome.code, outcome.err) == (0, "")
    assert calls.read_text(encoding="utf-8") == "called "
    assert outcome.out.splitlines()[-1] == f"verification: {out / 'verify.html'}"
    content = json.loads((out / "verify.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    assert content["headline"] == outcome.out.splitlines()[0]
    assert (content["rows"], content["rows_in_all"]) == (120, 400)
    assert content["retraining"].startswith("from fresh weights, 1 epoch of AdamW")
    points = pd.read_parquet(out / "points.parquet")
    assert len(points) == 3 * 4 * 10
    page = (out / "verify.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    assert command_line("verify", project.yaml, "--out", out, *small).code == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--groups", 3), "groups: found 3, expected at least 4"),
        (("--learning-rate", 0), "learning_rate: found 0.0, expected more than 0"),
        (("--start", "warm"), "start: found 'warm', expected fresh or trained"),
        (("--rows", 100, "--group-size", 30), "found 16 groups of 30 rows, expected at most 100"),
    ],
)
def test_what_cannot_be_verified(
    project: Project, command_line: CommandLine, tmp_path, changes: tuple, message: str
) -> None:
    outcome = command_line("verify", project.yaml, "--out", tmp_path / "out", *changes)
    assert outcome.code == 2
    assert message in outcome.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": "5"}, "groups: found '5', expected a whole number"),
        ({"group_size": 1.5}, "group_size: found 1.5, expected a whole number"),
        ({"rows": None}, "rows: found None, expected a whole number"),
    ],
)
def test_settings_from_python_are_checked(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataaudit.VerifySettings(**settings)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3)).eval()


def test_the_mirrors_are_described_as_they_were_made() -> None:
    train, held_out = fruit(40, 0), fruit(12, 1)
    found = dataaudit.verify(
        small_network(),
        train,
        held_out,
        label="kind",
        classes=["apple", "pear", "plum"],
        preprocess=lambda rows: torch.tensor(rows[FEATURES].to_numpy(), dtype=torch.float32),
        settings=dataaudit.VerifySettings(groups=4, group_size=4, repeats=1, epochs=1),
        mirror={"parameters": ["2.*"], "steps": 2},
    ).report
    assert (
        "the parameters 2.*; each on 40 training rows and 2 queries" in (found.mirrors["rehearsed"])
    )


def test_texts_of_any_length_are_held_together(tmp_path) -> None:
    pytest.importorskip("transformers")
    from test_transformers import LABELS, TEXTS, bert, saved

    folder = saved(tmp_path / "bert", *bert())
    train = pd.DataFrame({"text": [*TEXTS] * 4, "label": [*LABELS] * 4})
    settings = dataaudit.VerifySettings(groups=4, group_size=2, repeats=1, epochs=1)
    found = dataaudit.verify(folder, train, train[:3], settings=settings, mirror={"steps": 2})
    assert len(found.points) == 3 * 4 * 3


def test_inputs_of_several_shapes_are_named() -> None:
    def ragged(rows: pd.DataFrame) -> torch.Tensor:
        return torch.zeros(len(rows), 3 if len(rows) > 20 else 4)

    with pytest.raises(DataError, match=r"of shape \[3\] for some rows and \[4\] for others"):
        dataaudit.verify(
            nn.Sequential(nn.AdaptiveAvgPool1d(3), nn.Linear(3, 3)).eval(),
            fruit(40, 0),
            fruit(12, 1),
            label="kind",
            classes=["apple", "pear", "plum"],
            preprocess=ragged,
            settings=dataaudit.VerifySettings(groups=4, group_size=4, repeats=1, epochs=1),
        )


def test_without_queries(project: Project) -> None:
    frame = fruit(60, 0)
    estimator = LogisticRegression().fit(frame[FEATURES], frame["kind"])
    with pytest.raises(ConfigError, match="held_out: needed to verify"):
        dataaudit.verify(estimator, frame, None, label="kind")


def agreed(design: str, low: float, ceiling: float | None = None) -> MirrorAgreement:
    estimate = Estimate(estimate=low + 0.05, low=low, high=low + 0.1)
    return MirrorAgreement(
        design=design, mirror="rehearsed", groups=8, rows_per_group=5, pearson=estimate,
        spearman=estimate, within=estimate, ceiling=ceiling,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("low", "trust"), [(0.85, "strong"), (0.6, "fair"), (0.3, "weak"), (-0.2, "none")]
)
def test_trust_is_judged_by_random_groups(low: float, trust: str) -> None:
    found, sentence = conclusion([agreed("graded", 0.9), agreed("random", low)])
    assert found == trust
    interval = f"{low + 0.05:.2f}, 95% interval {low:.2f} to {low + 0.1:.2f}".replace("-", "−")
    assert f"Spearman over random groups {interval}" in sentence


def test_a_noisy_truth_is_blamed_on_training() -> None:
    _, sentence = conclusion([agreed("graded", 0.5), agreed("random", 0.0, ceiling=0.3)])
    assert "no prediction could reach more than about 0.300" in sentence


def test_nothing_measurable_is_said_plainly() -> None:
    silent = agreed("random", 0.0).model_copy(update={"spearman": None})
    assert conclusion([silent, agreed("graded", 0.5)])[1].startswith("Nothing can be said")


def test_the_published_schema_is_that_of_the_data() -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text()


def test_the_page_is_inert_and_complete(verified) -> None:
    report = verified.report.model_copy(update={"name": HOSTILE, "notes": [HOSTILE]})
    page = render_verification(report, verified.points)
    assert HOSTILE not in page
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page
    assert verified.report.headline in page
    assert Verification.model_validate_json(report.model_dump_json()) == report


def test_a_scatter_draws_each_point_once_and_thins_out_many() -> None:
    drawn = scatter("few", "Few", ("a", [0.0, 1.0, 2.0]), ("b", [1.0, -1.0, 0.5]))
    assert drawn.count("<circle") == 3
    assert "3 points: b, from −1.08 to 1.08, against a, from −0.0800 to 2.08" in drawn
    many = np.linspace(0, 1, 5000).tolist()
    assert scatter("many", "Many", ("a", many), ("b", many)).count("<circle") <= MOST_POINTS
    assert scatter("one", "One", ("a", [1.0]), ("b", [1.0])).count("<circle") == 1


@pytest.mark.parametrize("command", ["verify", "memorization"])
def test_help_shows_an_example(command_line: CommandLine, command: str) -> None:
    outcome = command_line(command, "--help")
    assert outcome.code == 0
    assert f"Example: dataaudit {command} audit.yaml --out " in " ".join(outcome.out.split())

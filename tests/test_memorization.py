"""Memorization: against rows known to be memorized, and the sums done by hand."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine, Project, fruit
from report_examples import HOSTILE
from sklearn.metrics import roc_auc_score
from torch import nn

import dataaudit
from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.errors import ConfigError, DataError
from dataaudit.models.trained import TrainedModel
from dataaudit.scoring.local import LocalEngine
from dataaudit.studies.memorization.data import SCHEMA_PATH, MemorizationReport, schema_text
from dataaudit.studies.memorization.estimate import estimate, halves, relearn_without
from dataaudit.studies.memorization.page import render_memorization
from dataaudit.studies.memorization.settings import MemorizationSettings
from dataaudit.tasks import Classification

FEATURES = ["width", "height", "weight"]
CLASSES = ["apple", "pear", "plum"]
QUICK = MemorizationSettings(draws=4, passes=2.0)


def preprocess(frame: pd.DataFrame) -> torch.Tensor:
    return torch.tensor(frame[FEATURES].to_numpy(), dtype=torch.float32)


@pytest.fixture(scope="module")
def memorized() -> tuple[nn.Module, pd.DataFrame, np.ndarray]:
    """A network that learned 200 rows by heart, 24 of them under a random wrong label."""
    frame = fruit(200, 0)
    wrong = np.zeros(200, dtype=bool)
    wrong[np.random.default_rng(1).choice(200, 24, replace=False)] = True
    turned = (frame["kind"].map(CLASSES.index)[wrong] + 1) % 3
    frame.loc[wrong, "kind"] = np.array(CLASSES)[turned]
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
    )
    inputs, labels = preprocess(frame), torch.tensor(frame["kind"].map(CLASSES.index).to_numpy())
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(600):
        loss = nn.functional.cross_entropy(module(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float((module(inputs).argmax(dim=1) == labels).double().mean()) > 0.97
    return module.eval(), frame, wrong


def found(memorized: tuple, **changes: object) -> pd.DataFrame:
    module, frame, _ = memorized
    settings = replace(MemorizationSettings(), **changes)
    return dataaudit.memorization(
        module, frame, preprocess=preprocess, label="kind", classes=CLASSES, settings=settings
    ).rows


def test_rows_that_only_memory_explains_come_first(memorized) -> None:
    rows = found(memorized)
    assert roc_auc_score(memorized[2], rows["memorization"]) > 0.9
    # Positive: the label is likelier because the row was trained on.
    assert rows["memorization"][memorized[2]].mean() > 0.4
    assert rows["memorization"][~memorized[2]].mean() < 0.2
    assert sorted(rows["rank"]) == list(range(1, 201))
    assert rows.loc[rows["rank"] == 1, "memorization"].iloc[0] == rows["memorization"].max()
    np.testing.assert_allclose(
        rows["memorization"], rows["likelihood"] - rows["likelihood_without"]
    )
    assert list(rows["label"]) == list(memorized[1]["kind"])


def test_the_same_seed_gives_the_same_and_the_model_is_left_alone(memorized) -> None:
    before = {name: value.clone() for name, value in memorized[0].state_dict().items()}
    first, second = (found(memorized, draws=2, passes=1.0) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    for name, value in memorized[0].state_dict().items():
        assert torch.equal(value, before[name])


def test_each_row_is_asked_of_the_models_that_did_not_relearn_it(memorized) -> None:
    module, frame, _ = memorized
    rows = samples_from_object(frame, ReadSettings("train", "kind", classes=CLASSES))
    model = TrainedModel(module, preprocess, "a network")
    task = Classification(3)
    blocks = [estimate(model, task, rows, LocalEngine(size), QUICK, seed=3) for size in (16, 200)]
    np.testing.assert_allclose(blocks[0].memorization, blocks[1].memorization, atol=1e-6)

    inputs, labels = preprocess(frame), torch.tensor(rows.labels)
    likelihoods, asked = [], halves(200, 4, seed=3)
    for draw, out in enumerate(asked):
        relearned = relearn_without(model, task, rows, out, QUICK, 3 + draw).copy_of(module)
        with torch.inference_mode():
            own = relearned(inputs).softmax(dim=1)[torch.arange(200), labels]
        likelihoods.append(own.numpy())
    values = np.stack(likelihoods)
    # In each of two random splits a row is left out once.
    expected = np.array([values[np.stack(asked)[:, row], row].mean() for row in range(200)])
    np.testing.assert_allclose(blocks[0].likelihood_without, expected, atol=1e-5)
    error = np.array(
        [values[np.stack(asked)[:, row], row].std(ddof=1) / np.sqrt(2) for row in range(200)]
    )
    np.testing.assert_allclose(blocks[0].spread, error, atol=1e-5)


def test_every_split_leaves_each_row_out_once() -> None:
    asked = np.stack(halves(21, 6, seed=0))
    assert asked.sum(axis=0).tolist() == [3] * 21
    assert not np.array_equal(asked[0], asked[2])


def test_relearning_never_looks_at_the_rows_left_out(memorized) -> None:
    module, frame, _ = memorized
    left_out = np.arange(200) < 100
    spoiled = frame.copy()
    spoiled.loc[left_out, FEATURES] = 1e6
    tensors = []
    for content in (frame, spoiled):
        rows = samples_from_object(content, ReadSettings("train", "kind", classes=CLASSES))
        model = TrainedModel(module, preprocess, "a network")
        tensors.append(
            relearn_without(model, Classification(3), rows, left_out, QUICK, seed=0).tensors
        )
    for name, value in tensors[0].items():
        assert torch.equal(value, tensors[1][name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": 3}, "draws: found 3, expected an even number from 2 on"),
        ({"keep": 1.5}, "keep: found 1.5, expected a share from 0 to 1"),
        ({"passes": 0.0}, "passes: found 0.0, expected more than 0"),
        ({"draws": 4.0}, "draws: found 4.0, expected a whole number"),
        ({"batch_size": 0.5}, "batch_size: found 0.5, expected a whole number"),
        ({"keep": "all"}, "keep: found 'all', expected a number"),
    ],
)
def test_settings_that_cannot_be_used(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MemorizationSettings(**changes)


def test_the_cost_is_what_is_counted(memorized) -> None:
    module, frame, _ = memorized
    seen = 0.0

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            nonlocal seen
            seen += len(inputs) * (3 if torch.is_grad_enabled() else 1)
            return self.inner(inputs)

    settings = MemorizationSettings(draws=2, passes=6.4)
    dataaudit.memorization(
        Counting(), frame, preprocess=preprocess, label="kind", classes=CLASSES, settings=settings
    )
    # Which tensor, which shape, and how labels go with the outputs of all 200 rows.
    looked_at_the_outputs = 64 + 64 + 200
    assert seen - looked_at_the_outputs == pytest.approx(settings.forward_passes(200), rel=0.02)


def test_too_few_rows(memorized) -> None:
    module, frame, _ = memorized
    with pytest.raises(DataError, match="found 12 rows, expected at least 20"):
        dataaudit.memorization(
            module, frame[:12], preprocess=preprocess, label="kind", classes=CLASSES
        )


def test_other_tasks_are_refused(memorized) -> None:
    module, frame, _ = memorized
    with pytest.raises(ConfigError, match="task: found regression, expected classification"):
        dataaudit.memorization(module, frame, label="kind", task="regression")


def test_the_command(project: Project, command_line: CommandLine, tmp_path) -> None:
    out = tmp_path / "memorized"
    arguments = ("memorization", project.yaml, "--out", out, "--draws", 2, "--passes", 2)
    outcome = command_line(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == f"memorization: {out / 'memorization.html'}"
    rows = pd.read_parquet(out / "memorization.parquet")
    assert list(rows.columns) == [
        "row_id", "label", "memorization", "standard_error", "likelihood", "likelihood_without",
        "rank",
    ]  # fmt: skip
    assert rows["row_id"].tolist() == [f"fruit-{number}" for number in range(400)]
    content = json.loads((out / "memorization.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    first = rows.sort_values("rank")["row_id"].iloc[0]
    assert content["long_tail"][0]["row_id"] == first
    page = (out / "memorization.html").read_text(encoding="utf-8")
    assert outcome.out.splitlines()[0] in page
    assert f'<td class="name">{first}</td>' in page
    # One of two draws asks each row: there is no spread.
    assert rows["standard_error"].isna().all()
    assert content["long_tail"][0]["standard_error"] is None

    refused = command_line(*arguments)
    assert refused.code == 2
    assert refused.err == (
        f"dataaudit: {out}: holds a finished memorization; choose another directory, or "
        "pass --overwrite\n"
    )
    assert command_line(*arguments, "--overwrite").code == 0


def test_a_directory_with_other_files_is_refused(
    project: Project, command_line: CommandLine
) -> None:
    outcome = command_line("memorization", project.yaml, "--out", project.folder)
    assert outcome.code == 2
    assert "holds files that are no memorization's (audit.yaml, fruit_model.py, " in outcome.err


def test_the_published_schema_is_that_of_the_data() -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text()


def test_text_from_rows_is_inert_on_the_page(memorized) -> None:
    module, frame, _ = memorized
    report = dataaudit.memorization(
        module, frame, preprocess=preprocess, label="kind", classes=CLASSES, settings=QUICK,
        name=HOSTILE,
    ).report  # fmt: skip
    tail = [row.model_copy(update={"text": HOSTILE, "row_id": HOSTILE}) for row in report.long_tail]
    page = render_memorization(report.model_copy(update={"long_tail": tail}))
    assert HOSTILE not in page
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page
    assert MemorizationReport.model_validate_json(report.model_dump_json()) == report

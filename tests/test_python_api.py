"""`dataaudit.audit(...)`: the same audit from objects in memory."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import CLASSES, Project, fruit
from safetensors.torch import load_file
from sklearn.ensemble import RandomForestClassifier
from torch import nn
from torch.utils.data import TensorDataset

import dataaudit

FEATURES = ["width", "height", "weight"]


def preprocess(frame: pd.DataFrame) -> torch.Tensor:
    return torch.tensor(frame[FEATURES].to_numpy(), dtype=torch.float32)


def trained(project: Project) -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    module.load_state_dict(load_file(project.folder / "model.safetensors"))
    return module


def tables(project: Project) -> list[pd.DataFrame]:
    return [pd.read_csv(project.folder / f"{name}.csv") for name in ("train", "val", "test")]


def test_data_frames_give_what_the_command_line_gives(project: Project) -> None:
    train, val, test = tables(project)
    result = dataaudit.audit(
        trained(project),
        train,
        val,
        test,
        label="kind",
        preprocess=preprocess,
        classes=CLASSES,
        gates={"contaminated": 0},
        out=project.folder / "from-python",
    )
    from dataaudit.stages.auditing import run_file

    by_file = run_file(project.yaml, project.folder / "from-file")
    pd.testing.assert_frame_equal(
        result.mislabels.drop(columns="row_id"), by_file.mislabels.drop(columns="row_id")
    )
    assert result.mislabels["row_id"].tolist() == list(range(400))
    assert not result.passed
    assert (project.folder / "from-python" / "report.html").is_file()


def test_tensor_data_sets_and_no_directory(project: Project, tmp_path: Path) -> None:
    splits = [
        TensorDataset(
            preprocess(table), torch.tensor([CLASSES.index(kind) for kind in table["kind"]])
        )
        for table in tables(project)
    ]
    result = dataaudit.audit(trained(project), *splits, name="tensors")
    assert len(result.mislabels) == 400
    assert set(result.mislabels["given_label"]) == {0, 1, 2}
    wrong = result.mislabels["row_id"].map("fruit-{}".format).isin(project.mislabeled)
    assert wrong[result.mislabels["rank"] <= 40].mean() >= 0.75
    page = result.to_html(tmp_path / "page.html")
    assert "tensors" in page.read_text(encoding="utf-8")


def test_a_fitted_estimator_needs_no_preprocess(project: Project) -> None:
    train, val, test = tables(project)
    forest = RandomForestClassifier(50, random_state=0).fit(train[FEATURES], train["kind"])
    result = dataaudit.audit(forest, train, val, test, label="kind", mirror={"seed": 1})
    wrong = result.mislabels["row_id"].map("fruit-{}".format).isin(project.mislabeled)
    assert wrong[result.mislabels["rank"] <= 40].mean() >= 0.6
    assert any("RandomForestClassifier has no gradients" in limit for limit in result.report.limits)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"mirrow": {}}, "audit():\n  mirrow: unknown key; did you mean mirror?"),
        ({"mirror": {"seed": -1}}, "audit():\n  mirror.seed: found -1: input should be greater"),
    ],
)
def test_unknown_settings_are_named(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(dataaudit.ConfigError) as caught:
        dataaudit.audit(nn.Linear(3, 3), fruit(20, 0), label="kind", **settings)
    assert str(caught.value).startswith(expected)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(dataaudit.ModelError, match="the model is a dict; expected a torch"):
        dataaudit.audit({}, fruit(20, 0), label="kind", classes=CLASSES)
    with pytest.raises(dataaudit.ModelError, match=r"model\.pt: there is no such file or folder"):
        dataaudit.audit("model.pt", fruit(20, 0), label="kind", classes=CLASSES)


def test_help_and_import_do_not_wait_for_torch() -> None:
    script = "import sys, dataaudit.cli; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_groups_on_both_sides_and_rows_that_contradict_each_other(project: Project) -> None:
    train, val, test = tables(project)
    test = test.assign(farm=[f"farm {line % 40}" for line in range(len(test))])
    train = train.assign(farm=[f"farm {39 + line % 3}" for line in range(len(train))])
    other = next(kind for kind in CLASSES if kind != train["kind"][0])
    train.loc[1, FEATURES], train.loc[1, "kind"] = train.loc[0, FEATURES].to_numpy(), other
    settings = {"label": "kind", "preprocess": preprocess, "classes": CLASSES}
    result = dataaudit.audit(trained(project), train, val, test, group="farm", **settings)
    leakage = result.report.leakage
    assert [tuple(group) for group in leakage.shared_groups] == [
        (("group", "farm 39"), ("suspects", 3), ("rows", 134))
    ]
    assert leakage.suspects_in_shared_groups == 3
    pair = leakage.disagreeing_rows[0]
    assert (pair.row_id, pair.other_row_id, pair.other_label) == (0, 1, other)
    with pytest.raises(dataaudit.DataError, match="'ferm'"):
        dataaudit.audit(trained(project), train, val, test, group="ferm", **settings)

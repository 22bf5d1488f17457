"""Models that learn again without the row, beside the mirror, of tags."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.datasets.samples import Role
from dataaudit.flags.inputs import View
from dataaudit.inputs import Loaded
from dataaudit.mirror import beside
from dataaudit.mirror.effort import chosen_effort, passes
from dataaudit.mirror.learners import Learners
from dataaudit.mirror.plan import FOLDS_BESIDE, Plan, make_plan
from dataaudit.run_directory.steps import Steps
from dataaudit.stages.left_out import learned_beside
from dataaudit.stages.loading import load_objects

WORDS, TAGS, LENGTH = 24, 3, 4


def tagged(rows: int, seed: int) -> pd.DataFrame:
    """Return rows of words; the tag of a word is its number modulo the number of tags."""
    words = np.random.default_rng(seed).integers(0, WORDS, (rows, LENGTH))
    return pd.DataFrame({"numbers": list(words), "tags": (words % TAGS).tolist()})


def read(frame: pd.DataFrame) -> Tensor:
    return nn.functional.one_hot(torch.tensor(np.stack(frame["numbers"])), WORDS).float()


def network(rows: pd.DataFrame | None = None) -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(WORDS, 32), nn.ReLU(), nn.Linear(32, TAGS))
    if rows is not None:
        inputs, tags = read(rows).flatten(0, 1), torch.tensor(rows["tags"].tolist()).flatten()
        optimizer = torch.optim.Adam(module.parameters(), 1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(inputs), tags).backward()
            optimizer.step()
    return module.eval()


def planned(
    train: pd.DataFrame, trusted: pd.DataFrame | None, **mirror: Any
) -> tuple[Loaded, Plan]:
    config = config_from_python(
        "tags", None, {"task": "token-classification", "classes": [0, 1, 2], "mirror": mirror}
    )
    splits: dict[Role, Any] = {"train": train, "held_out": trusted, "suspects": None}
    found = load_objects(network(), splits, read, config)
    return found, make_plan(found, config, chosen_effort(found, config))


def said(train: pd.DataFrame, folder: Path) -> View | None:
    loaded, plan = planned(train, tagged(60, 1), steps=60)
    return learned_beside(loaded, plan, Steps(folder, "same"), Learners())


def test_what_is_said_of_a_row_does_not_depend_on_its_tags(tmp_path: Path) -> None:
    train = tagged(120, 0)
    changed = train.copy()
    changed.at[7, "tags"] = [(tag + 1) % TAGS for tag in train["tags"][7]]
    one, other = said(train, tmp_path / "one"), said(changed, tmp_path / "other")
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.rows[7], other.rows[7])
    assert not np.array_equal(one.rows, other.rows)
    for found, samples in ((one.rows, train), (one.trusted, tagged(60, 1))):
        tokens = np.asarray(found).reshape(len(samples), LENGTH, TAGS)
        np.testing.assert_allclose(tokens.sum(axis=2), 1, rtol=1e-5)
        assert (tokens.argmax(axis=2) == np.array(samples["tags"].tolist())).mean() > 0.9


def test_an_interrupted_audit_learns_no_fold_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, learned = beside._learned, []

    def counted(*arguments: Any) -> Any:
        learned.append(arguments)
        if len(learned) == 2:
            raise KeyboardInterrupt
        return learn(*arguments)

    monkeypatch.setattr(beside, "_learned", counted)
    with pytest.raises(KeyboardInterrupt):
        said(tagged(120, 0), tmp_path)
    resumed = said(tagged(120, 0), tmp_path)
    assert len(learned) == 1 + FOLDS_BESIDE
    again = said(tagged(120, 0), tmp_path)
    assert len(learned) == 1 + FOLDS_BESIDE
    assert resumed is not None
    assert again is not None
    np.testing.assert_array_equal(resumed.rows, again.rows)


def test_a_model_that_tells_nothing_of_what_it_has_not_learned_is_not_asked(
    tmp_path: Path,
) -> None:
    train = tagged(120, 0)
    generator = np.random.default_rng(2)
    train["tags"] = generator.integers(0, TAGS, (120, LENGTH)).tolist()
    trusted = tagged(60, 1).assign(tags=generator.integers(0, TAGS, (60, LENGTH)).tolist())
    loaded, plan = planned(train, trusted, steps=60)
    assert plan.beside
    assert learned_beside(loaded, plan, Steps(tmp_path, "noise"), Learners()) is None


def test_they_take_the_place_of_one_mirror() -> None:
    train, trusted = tagged(120, 0), tagged(60, 1)
    loaded, plan = planned(train, trusted)
    assert (plan.beside, plan.mirrors) == (True, 1)
    assert plan.reason.endswith("and of the trusted samples, which it then judges")
    config = config_from_python(
        "tags", None, {"task": "token-classification", "classes": [0, 1, 2]}
    )
    without = make_plan(loaded, config, beside=False)
    assert (without.beside, without.mirrors) == (False, 2)
    assert "which it then judges" not in without.reason
    assert plan.forward_passes == without.forward_passes
    assert passes(loaded, plan) == pytest.approx(passes(loaded, without))
    _, thorough = planned(train, trusted, effort="thorough")
    assert (thorough.beside, thorough.mirrors) == (True, 4)


@pytest.mark.parametrize(
    ("trusted", "mirror"),
    [
        (60, {"effort": "quick"}),
        (60, {"kind": "head"}),
        (60, {"parameters": "last"}),
        (39, {}),
        (0, {}),
    ],
)
def test_where_they_cannot_help_there_are_none(trusted: int, mirror: dict[str, Any]) -> None:
    _, plan = planned(tagged(120, 0), tagged(trusted, 1) if trusted else None, **mirror)
    assert (plan.beside, plan.mirrors) == (False, 2)


def test_an_audit_weighs_them_and_says_so() -> None:
    train = tagged(150, 0)
    for row in range(10):
        train.at[row, "tags"] = [(train["tags"][row][0] + 1) % TAGS, *train["tags"][row][1:]]
    result = dataaudit.audit(
        network(train), train, tagged(60, 1), preprocess=read, task="token-classification",
        label="tags", classes=[0, 1, 2], mirror={"steps": 60},
    )  # fmt: skip
    assert (result.mislabels["rank"][:10] <= 12).all()
    assert result.mislabels["suggested_label"][0] == " ".join(map(str, tagged(150, 0)["tags"][0]))
    labels = result.report.labels
    assert labels is not None
    assert "by models that learned again without the row" in str(labels.method)
    assert str(result.report.method.settings["mirror"]).endswith("which it then judges")

"""`mirror: {effort: thorough}`: longer learning for images, more mirrors for other data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dataaudit.config import config_from_python
from dataaudit.errors import ConfigError
from dataaudit.inputs import Loaded
from dataaudit.mirror.effort import chosen_effort, passes
from dataaudit.mirror.plan import Plan, make_plan
from dataaudit.mirror.relearn import relearn
from dataaudit.stages.loading import load_objects

ROWS = 300


def frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(ROWS, 4)).astype(np.float32)
    return pd.DataFrame(values, columns=list("abcd")).assign(label=(values[:, 0] > 0).astype(int))


def as_table(rows: pd.DataFrame) -> Tensor:
    return torch.tensor(rows[list("abcd")].to_numpy())


def as_images(rows: pd.DataFrame) -> Tensor:
    return as_table(rows)[:, :, None, None].expand(-1, -1, 8, 8)


def planned(preprocess: Any, module: nn.Module, **mirror: Any) -> tuple[Loaded, Plan]:
    config = config_from_python("label", None, {"classes": [0, 1], "mirror": mirror})
    splits: dict[Any, Any] = {"train": frame(), "held_out": None, "suspects": None}
    found = load_objects(module, splits, preprocess, config)
    return found, make_plan(found, config, chosen_effort(found, config))


def test_images_are_learned_more_than_twice_as_long() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    _, standard = planned(as_images, module, batch_size=8)
    _, thorough = planned(as_images, module, batch_size=8, effort="thorough")
    assert standard.settings.steps == round(7.4 * ROWS / 8)
    assert thorough.settings.steps == 16 * ROWS / 8
    assert standard.mirrors == thorough.mirrors == 1
    assert thorough.forward_passes > 2 * standard.forward_passes
    assert thorough.reason.startswith("thorough: finite, 600 steps, each on 8 training rows")


def test_other_data_are_learned_again_more_often_and_no_longer() -> None:
    _, standard = planned(as_table, nn.Linear(4, 2))
    found, thorough = planned(as_table, nn.Linear(4, 2), effort="thorough")
    assert thorough.settings == standard.settings
    assert thorough.forward_passes == 2.5 * standard.forward_passes
    mirrors = [mirror.tensors["weight"] for mirror in relearn(found, thorough).relearned]
    assert len(mirrors) == 5
    assert len({tuple(weights.flatten().tolist()) for weights in mirrors}) == 5


def finetuned(preprocess: Any, rows: int, trusted: int, effort: str) -> tuple[Loaded, Plan]:
    many = pd.concat([frame()] * (-(-rows // ROWS)), ignore_index=True)
    splits: dict[Any, Any] = {
        "train": many[:rows],
        "held_out": many[:trusted],
        "suspects": None,
    }
    width = preprocess(many[:1]).flatten(1).shape[1]

    def module(seed: int) -> nn.Sequential:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 2))

    config = config_from_python("label", None, {"classes": [0, 1], "mirror": {"effort": effort}})
    found = load_objects(module(0), splits, preprocess, config, module(1)[:2])
    assert found.model.initial is not None
    return found, make_plan(found, config, chosen_effort(found, config))


def test_standard_takes_at_most_30_passes_where_the_start_of_training_is_known() -> None:
    inputs, rows, trusted = as_table, 2000, 400
    found, standard = finetuned(inputs, rows, trusted, "standard")
    assert 20 < passes(found, standard) <= 30
    # Who asks for a thorough audit gets it.
    _, thorough = finetuned(inputs, rows, trusted, "thorough")
    assert thorough.forward_passes > 2 * standard.forward_passes


def test_steps_of_the_users_own_count_for_every_effort() -> None:
    for effort in ("standard", "thorough"):
        _, plan = planned(as_table, nn.Linear(4, 2), effort=effort, steps=7)
        assert plan.settings.steps == 7


def test_another_effort_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"mirror\.effort: found 'much'.*'quick', 'standard' or 'thorough'"
    ):
        planned(as_table, nn.Linear(4, 2), effort="much")

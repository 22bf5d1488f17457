"""The method under test: the package's own stages, from the user's rows to flags."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from mislabel_methods import Answer, Workbench
from mislabel_training import Meter
from torch import nn

from dataaudit.config import config_from_python
from dataaudit.flags.results import MislabelFlags
from dataaudit.mirror.relearn import relearn
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring.local import LocalEngine
from dataaudit.stages.flagging import find_mislabels
from dataaudit.stages.loading import load_objects
from dataaudit.stages.planning import planned
from dataaudit.stages.probing import probed
from dataaudit.stages.scoring import score

BUDGETS = (100, 300, 1000)


def ours(bench: Workbench, meter: Meter) -> Answer:
    return audited(bench, meter, "standard")


def ours_thorough(bench: Workbench, meter: Meter) -> Answer:
    return audited(bench, meter, "thorough")


def audited(
    bench: Workbench,
    meter: Meter,
    effort: str,
    initial: Any = None,
    mirror: Mapping[str, Any] = MappingProxyType({}),
) -> Answer:
    """Audit with some effort, knowing where training started or not.

    `mirror` holds further settings of it; several learning rates are not tried where it has one.
    """
    problem = bench.problem
    if isinstance(bench.model, nn.Module):
        meter.attach(bench.model)
        preprocess: Any = problem.preprocess
    else:
        meter.cost.forward_passes = float("nan")
        preprocess = None
    settings: dict[str, Any] = {
        "classes": list(range(len(problem.classes))),
        "mirror": {"seed": problem.seed, "effort": effort} | dict(mirror),
    }
    splits: dict[Any, Any] = {
        "train": problem.train,
        "held_out": problem.held_out if len(problem.held_out) else None,
        "suspects": None,
    }
    config = config_from_python("label", None, settings)
    loaded = load_objects(bench.model, splits, preprocess, config, initial)
    with tempfile.TemporaryDirectory() as folder:
        steps, engine = Steps(Path(folder), tie=""), LocalEngine()
        seen, plan = planned(loaded, config, Path(folder))
        learned = relearn(seen, plan)
        scores = score(seen, learned, engine, steps)
        probes = probed(loaded, engine, steps, problem.seed)
        flags = find_mislabels(loaded, learned, scores, config, probes)
    table = flags.table
    return Answer(
        table["score"].to_numpy(),
        table["flagged"].to_numpy(),
        table["suggested_label"].to_numpy(),
        meter.cost,
        _claims(flags) | {"attempt": list(vars(learned.attempt).values())},
    )


def _claims(flags: MislabelFlags) -> dict[str, Any]:
    probability = flags.table["probability"].to_numpy()
    by_rank = probability[np.argsort(flags.table["rank"].to_numpy())]
    rate = flags.noise_rate
    return {
        "precision": {str(budget): float(by_rank[:budget].mean()) for budget in BUDGETS},
        "noise_rate": [rate.estimate, rate.low, rate.high],
        "per_class": flags.noise_per_class[["low", "high"]].to_numpy().tolist(),
    }

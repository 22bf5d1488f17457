"""The plan: which mirror, how many steps, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dataaudit.config import AuditConfig
from dataaudit.loading import Loaded
from dataaudit.mirror.finite import FiniteSettings, finite_mirror
from dataaudit.mirror.perturbation import Perturbation
from dataaudit.queries import HeldOutSplit, split_held_out

KEPT_BACK_SHARE = 0.2
FEWEST_QUERIES = 20
"""With fewer held-out samples there is nothing to keep back, and too little to learn from."""


@dataclass(frozen=True)
class Plan:
    """How an audit mirrors.

    Attributes
    ----------
    settings : FiniteSettings or None
        None where there are too few held-out samples: the model's own scores must do.
    split : HeldOutSplit
    reason : str
        For the log and the report.
    """

    settings: FiniteSettings | None
    split: HeldOutSplit
    reason: str


def make_plan(loaded: Loaded, config: AuditConfig) -> Plan:
    """Choose the mirror for these data and settings."""
    nothing = np.zeros(0, dtype=np.int64)
    count = 0 if loaded.held_out is None else len(loaded.held_out)
    if loaded.held_out is None or count < FEWEST_QUERIES:
        return Plan(
            None,
            HeldOutSplit(nothing, np.arange(count)),
            f"{count} held-out samples are too few to learn from (at least {FEWEST_QUERIES} are "
            "needed); the model's own scores were used alone",
        )
    split = split_held_out(loaded.held_out.labels, KEPT_BACK_SHARE, config.mirror.seed)
    mirror = config.mirror
    settings = FiniteSettings(
        steps=mirror.steps or 100,
        learning_rate=mirror.learning_rate or 2e-3,
        batch_size=mirror.batch_size or 64,
        parameters=mirror.parameters,
        batch_norm=mirror.batch_norm,
        dropout=mirror.dropout,
        checkpoints=8,
        seed=mirror.seed,
    )
    reason = f"finite: {settings.steps} steps on {len(split.learned)} held-out samples"
    return Plan(settings, split, reason)


def learn_held_out(loaded: Loaded, plan: Plan) -> list[Perturbation]:
    """Let the model learn the held-out samples; return its checkpoints."""
    if plan.settings is None or loaded.held_out is None:
        return []
    batch = loaded.held_out.take(plan.split.learned)
    inputs = loaded.model.inputs(batch, loaded.held_out)
    labels = torch.as_tensor(batch.labels, device=loaded.model.device)
    mirror = finite_mirror(loaded.model.module, loaded.task, inputs, labels, plan.settings)
    return [checkpoint.perturbation for checkpoint in mirror]

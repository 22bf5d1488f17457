"""What an audit costs at each effort, and which effort `auto` takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from dataaudit.config import AuditConfig
from dataaudit.flags.label_doubts import FEWEST_TRUSTED
from dataaudit.inputs import Loaded
from dataaudit.mirror.features import learns_alone
from dataaudit.mirror.plan import FEWEST_REFERENCES, EffortName, Plan, make_plan
from dataaudit.mirror.references import most_passes
from dataaudit.models.trained import forward

EFFORT_NAMES: Sequence[EffortName] = ("quick", "standard", "thorough")
AFFORDABLE = {"cpu": 2e15}
"""Floating-point operations that `auto` spends on a standard audit, a few hours' work: counted,
not timed, so that the same audit takes the same effort whatever else the machine does."""
AFFORDABLE_OTHERWISE = 2e18
"""On an accelerator."""
ROWS_TIMED = 64
MOST_ROWS, MOST_TRUSTED = 3000, 2000
"""That a second opinion is formed of: a rate is asked for, not each label."""
MOST_CLASSES = 100
"""With more, fitting how labels go wrong takes longer than a second opinion is worth."""


@dataclass(frozen=True)
class Cost:
    """What an audit would cost.

    Attributes
    ----------
    effort : "quick", "standard" or "thorough"
    passes : float
        Forward passes of the whole model for each training row; learning a row counts three.
    seconds : float
        About how long they take here, without reading the rows.
    """

    effort: EffortName
    passes: float
    seconds: float


def chosen_effort(loaded: Loaded, config: AuditConfig) -> EffortName:
    """Return the effort asked for; `auto` is standard, or quick where that would take too long.

    Quick needs a model whose last layer can learn alone, or one that probes can be asked of.
    """
    asked = config.mirror.effort
    if asked != "auto":
        return asked
    kind = loaded.train.kind
    if config.mirror.kind == "head" or kind.own_loss or kind.written:
        return "standard"
    if affordable(loaded, passes(loaded, make_plan(loaded, config))):
        return "standard"
    # Where neither is possible, the whole model learns again, however long that takes.
    return "quick" if by_probes(loaded, config, "quick") or learns_alone(loaded) else "standard"


def affordable(loaded: Loaded, passes_of_a_row: float) -> bool:
    """Tell whether so many forward passes for each training row are what `auto` may spend."""
    spent = passes_of_a_row * len(loaded.train) * operations(loaded)
    return spent <= AFFORDABLE.get(loaded.model.device.type, AFFORDABLE_OTHERWISE)


def by_probes(loaded: Loaded, config: AuditConfig, effort: EffortName) -> bool:
    """Tell whether a quick audit asks probes on what the model saw before it was trained.

    Where nothing is known of that, or nothing is trusted, the last layer alone learns again.
    """
    asked = effort == "quick" and config.mirror.kind != "head"
    known = loaded.model.initial is not None and loaded.train.kind.probed
    trusted = 0 if loaded.held_out is None else len(loaded.held_out)
    return asked and known and trusted >= FEWEST_REFERENCES


def costs(loaded: Loaded, config: AuditConfig) -> list[Cost]:
    """Return what the audit would cost at each effort; a forward pass is timed for it."""
    seconds = seconds_of_a_pass(loaded)
    found = []
    for effort in EFFORT_NAMES:
        if effort == "quick" or config.mirror.kind == "head":
            each = _scored(loaded, 1 + by_probes(loaded, config, effort))
            each += sum(second_opinion_of(loaded)) / len(loaded.train)
        else:
            each = passes(loaded, make_plan(loaded, config, effort))
        found.append(Cost(effort, each, each * len(loaded.train) * seconds))
    return found


def passes(loaded: Loaded, plan: Plan) -> float:
    """Return the forward passes of an audit of the whole model for each training row, at most."""
    rows = len(loaded.train)
    familiar = most_passes(plan.batch_size, rows, len(plan.references))
    models = 2 + plan.beside + plan.mirrors * (1 + plan.flip) + (loaded.model.initial is not None)
    steps = plan.forward_passes + familiar + sum(second_opinion_of(loaded))
    return steps / rows + _scored(loaded, models)


def second_opinion_of(loaded: Loaded) -> tuple[int, int]:
    """Return how many rows and trusted samples are run once more, under fresh weights.

    None where these are too few, the model is no network, the kind of label has no probes, or the
    weights before training are known: then probes of these say it (`dataaudit.stages`).
    """
    train, trusted, model = loaded.train, loaded.held_out, loaded.model
    if trusted is None or len(trusted) < FEWEST_TRUSTED or len(train.classes) > MOST_CLASSES:
        return 0, 0
    if model.estimator is not None or not train.kind.probed or model.initial is not None:
        return 0, 0
    return min(len(train), MOST_ROWS), min(len(trusted), MOST_TRUSTED)


def _scored(loaded: Loaded, models: int) -> float:
    splits = (loaded.train, loaded.held_out, loaded.suspects)
    samples = sum(len(split) for split in splits if split is not None)
    return models * samples / len(loaded.train)


def operations(loaded: Loaded) -> float:
    """Return the floating-point operations of one forward pass of one row."""
    batch = loaded.train.take([0])
    inputs = loaded.model.inputs(batch, loaded.train)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        forward(loaded.model.module, inputs)
    return float(counter.get_total_flops())


@torch.inference_mode()
def seconds_of_a_pass(loaded: Loaded) -> float:
    """Return the time of a forward pass, for each row."""
    batch = loaded.train.take(range(min(loaded.train.rows_at_once(ROWS_TIMED), len(loaded.train))))
    inputs = loaded.model.inputs(batch, loaded.train)
    found = []
    for _ in range(2):  # The first one also loads what the device needs.
        start = time.perf_counter()
        forward(loaded.model.module, inputs).cpu()
        found.append(time.perf_counter() - start)
    return min(found) / len(batch)

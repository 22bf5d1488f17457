"""What each mirror costs, and which one is taken for `kind: auto`.

The choice rests on counts alone, so that it is the same at every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from dataaudit.errors import ModelError
from dataaudit.models.tail import find_tail
from dataaudit.models.trained import Inputs
from dataaudit.studies.influence.groups import QueryGroup
from dataaudit.studies.influence.settings import InfluenceSettings, Kind

MOST_FORWARD_PASSES = 200
"""Forward passes of each row that `auto` spends on `finite`; beyond, `head` stands in for it."""


@dataclass(frozen=True)
class Choice:
    """Which mirror is taken, and why.

    Attributes
    ----------
    kind : "finite", "linear" or "head"
    reason : str
        For the log and for `influence.json`.
    forward_passes : mapping of kind to float
        What each mirror that can be used would cost, in forward passes of one row; the queries'
        steps included, a step on one query for three.
    """

    kind: Kind
    reason: str
    forward_passes: dict[str, float]


def choose(
    module: nn.Module,
    trial: Inputs,
    rows: int,
    groups: Sequence[QueryGroup],
    settings: InfluenceSettings,
) -> Choice:
    """Count what each mirror costs, and choose.

    `auto` takes `finite`, which asks the question itself, up to `MOST_FORWARD_PASSES` for each
    row; `head` where only the last layer moves anyway (the scores are the same), and beyond that
    limit, where the model ends in a linear layer.

    Parameters
    ----------
    module : torch.nn.Module
    trial : Inputs
        Of some rows.
    rows : int
    groups : sequence of QueryGroup
    settings : InfluenceSettings
    """
    count = len(groups)
    learned = settings.steps * sum(
        min(settings.batch_size, len(group.positions)) for group in groups
    )
    costs = {
        "finite": rows * (1.0 + count) + 3.0 * learned,
        # Base and backward pass by the outputs once, the layers for each group.
        "linear": rows * (2.0 + count) + 3.0 * learned,
    }
    no_head = ""
    try:
        tail = find_tail(module, trial, settings.layers)
        share = _size(tail.layers) / max(1, _size(module))
        queries = sum(len(group.positions) for group in groups)
        costs["head"] = rows * (1.0 + share * count) + queries + 3.0 * share * learned
    except ModelError as error:
        no_head = str(error)
    if settings.kind != "auto":
        return Choice(settings.kind, f"{settings.kind}, as asked for", costs)
    if settings.parameters == "last" and "head" in costs:
        return Choice("head", "head: only the last layer moves, which it does for less", costs)
    if 1 + count <= MOST_FORWARD_PASSES:
        reason = f"finite: {count} groups take {1 + count} forward passes of each row"
        return Choice("finite", f"{reason}, at most {MOST_FORWARD_PASSES}", costs)
    reason = f"finite would take {1 + count} forward passes of each row"
    if "head" in costs and settings.parameters == "all":
        return Choice("head", f"head: {reason}, more than {MOST_FORWARD_PASSES}", costs)
    instead = no_head or "mirror.parameters names others than the last layer's"
    return Choice("finite", f"{reason}, but head cannot be used ({instead})", costs)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

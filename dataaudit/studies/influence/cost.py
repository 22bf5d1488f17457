"""What each mirror costs, and which one is taken for `kind: auto`.

The choice rests on counts alone, so that it is the same at every run; the seconds beside it come
from a short measurement, and change nothing.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dataaudit.datasets.samples import Samples
from dataaudit.errors import ModelError
from dataaudit.mirror.finite import Part
from dataaudit.models.tail import find_tail
from dataaudit.models.trained import Inputs, TrainedModel
from dataaudit.studies.influence.blocks import InfluenceBlock, write_block
from dataaudit.studies.influence.groups import QueryGroup
from dataaudit.studies.influence.mirrored import Mirrored
from dataaudit.studies.influence.settings import InfluenceSettings, Kind
from dataaudit.studies.influence.streaming import rows_per_block

MOST_FORWARD_PASSES = 200
"""Forward passes of each row that `auto` spends on `finite`; beyond, `head` stands in for it."""
BATCHES_MEASURED = 8
SECONDS_MEASURED = 0.1
"""Loading and scoring are measured on fewer batches where these take longer."""
GROUPS_TRIED: dict[Kind, int] = {"finite": 8, "linear": 8, "head": 1000}
"""What one more costs is projected from these; of `head` it shows with many only."""


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


@dataclass(frozen=True)
class Prediction:
    """What a run will take, from a short measurement, in seconds.

    Attributes
    ----------
    loading : float
        Reading and preprocessing the rows.
    scoring : float
        The forward passes over them, and their scores to disk.
    steps : float
        The queries' steps.
    """

    loading: float
    scoring: float
    steps: float

    def rows(self, device: torch.device) -> float:
        """Return the seconds until all rows are scored.

        They are loaded by a thread ahead, which needs a core that torch leaves it.
        """
        beside = torch.get_num_threads() < _cores() or device.type != "cpu"
        return max(self.loading, self.scoring) if beside else self.loading + self.scoring


def predict(
    model: TrainedModel,
    rows: Samples,
    groups: Sequence[QueryGroup],
    ready: Callable[[Sequence[QueryGroup]], Mirrored],
    batch_size: int,
    chunks: int,
    tried: int,
    folder: Path,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Prediction, Mirrored]:
    """Measure loading, the queries' steps, scoring and writing on a little, and project them.

    Parameters
    ----------
    model, rows, groups
    ready : callable
        Makes groups ready.
    batch_size, chunks : int
        Rows in a batch, and how often the rows are gone through.
    tried : int
        Groups that are made ready for this, at most.
    folder : Path
        Where blocks are written. One is, with no scores in it, which the first of the run replaces.
    clock : callable
        Returns seconds.

    Returns
    -------
    Prediction
    Mirrored
        The groups that were tried, ready.
    """
    loading, batches = _loaded(model, rows, batch_size, clock)
    few = list(groups[:tried])
    started = clock()
    several = ready(few)
    steps = (clock() - started) / len(few) * len(groups)
    all_of_few = _seconds_a_row(several, batches, clock)
    if len(few) == len(groups) and chunks == 1:
        scoring = all_of_few
    else:
        one = all_of_few if len(few) == 1 else _seconds_a_row(ready(few[:1]), batches, clock)
        each = 0.0 if len(few) == 1 else max(0.0, (all_of_few - one) / (len(few) - 1))
        scoring = chunks * (one - each) + each * len(groups)
    scoring += chunks * _seconds_to_write(
        rows, -(-len(groups) // chunks), batch_size, folder, clock
    )
    count = len(rows)
    return Prediction(count * chunks * loading, count * scoring, steps), several


def _loaded(
    model: TrainedModel, rows: Samples, batch_size: int, clock: Callable[[], float]
) -> tuple[float, list[Part]]:
    """Return the seconds that a row takes to load, and the first batches."""
    batches: list[Part] = []
    seconds: list[float] = []
    started = clock()
    for batch in rows.batches(batch_size):
        labels = torch.as_tensor(batch.labels, device=model.device)
        batches.append((model.inputs(batch, rows), labels))
        now = clock()
        seconds.append((now - started) / len(labels))
        started = now
        if len(batches) == BATCHES_MEASURED or sum(seconds) * batch_size > SECONDS_MEASURED:
            break
    return statistics.median(seconds), batches


def _seconds_a_row(
    mirrored: Mirrored, batches: Sequence[Part], clock: Callable[[], float]
) -> float:
    """Return the seconds that a row takes: the median over batches, after one that warms up.

    A last batch is left out where it is shorter, for its rows take longer.
    """
    size = len(batches[0][1])
    whole = [batch for batch in batches if len(batch[1]) == size]
    found: list[float] = []
    for inputs, labels in [whole[0], *whole]:
        started = clock()
        mirrored.changes(inputs, labels)[1].cpu()
        found.append(clock() - started)
        if sum(found) > SECONDS_MEASURED:
            break
    return statistics.median(found[1:] or found) / size


def _seconds_to_write(
    rows: Samples, groups: int, batch_size: int, folder: Path, clock: Callable[[], float]
) -> float:
    """Return the seconds that a row takes to be written, in a block of the run's length."""
    length = min(len(rows), rows_per_block(groups, batch_size))
    scores = np.full((length, groups), np.nan, dtype=np.float32)
    block = InfluenceBlock(0, 0, rows.ids[:length], scores[:, 0], scores)
    started = clock()
    write_block(folder, block)
    return (clock() - started) / length


def _cores() -> int:
    """Return the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

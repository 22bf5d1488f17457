"""Mirrored influence of pairs: unlearn one query, and see how chosen rows react.

Ko et al. (CVPR 2024) find leaked samples by one ascending Adam step on the query. What one step
does to a row says little by itself, because rows differ widely in how much any step moves them;
so each row's reaction is set against its reaction to queries known to be clean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples
from dataaudit.models.parameters import moving_parameters
from dataaudit.models.trained import Inputs, TrainedModel, forward, map_tensors
from dataaudit.progress import track
from dataaudit.scoring.passes import ITSELF, Passes
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.tasks import Task

LEARNING_RATE = 1e-4
QUERIES_PER_READ = 64
"""Queries (and the rows that they match) that are read and turned into inputs together."""
_ADAM_EPSILON = 1e-8

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


def unlearned(model: TrainedModel, task: Task, queries: Samples, position: int) -> Perturbation:
    """Return the model after one ascending Adam step on the loss of one query.

    The first step of Adam moves every parameter by the learning rate in the direction of its
    gradient's sign, whatever the size of the gradient; so the step is bounded.
    """
    return next(each_unlearned(model, task, queries, np.array([position])))


def each_unlearned(
    model: TrainedModel, task: Task, queries: Samples, positions: IndexArray
) -> Iterator[Perturbation]:
    """Yield the model after unlearning each query alone; queries are read together."""
    moving = moving_parameters(model.module, "all")
    step = queries.rows_at_once(QUERIES_PER_READ)
    for start in range(0, len(positions), step):
        batch = queries.take(positions[start : start + step])
        inputs = model.inputs(batch, queries)
        labels = torch.as_tensor(batch.labels, device=model.device)
        for line in range(len(batch)):
            one = slice(line, line + 1)
            with torch.enable_grad():
                outputs = forward(model.module, _rows_of(inputs, one))
                loss = task.losses(outputs, labels[one]).sum()
                gradients = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
            yield Perturbation(
                {
                    name: parameter.detach()
                    + LEARNING_RATE * gradient / (gradient.abs() + _ADAM_EPSILON)
                    for (name, parameter), gradient in zip(moving.items(), gradients, strict=True)
                    if gradient is not None
                }
            )


def reactions(
    model: TrainedModel,
    task: Task,
    queries: Samples,
    positions: IndexArray,
    rows: Samples,
    candidates: IndexArray,
    backgrounds: Sequence[Perturbation],
) -> tuple[FloatArray, FloatArray]:
    """Return how candidate rows react to their query, and to clean queries.

    Parameters
    ----------
    model, task
    queries : Samples
    positions : `[queries]`
        The queries to unlearn, each alone.
    rows : Samples
    candidates : `[queries, matches]`
        Positions of the rows to look at, -1 for none.
    backgrounds : sequence of Perturbation
        The model after unlearning clean queries, each alone.

    Returns
    -------
    changes : float64 `[queries, matches]`
        Change of the row's loss, nats; positive: the row lost what was unlearned. NaN for none.
    background : float64 `[queries, matches, backgrounds]`
        The same for the clean queries.
    """
    changes = np.full(candidates.shape, np.nan)
    background = np.full((*candidates.shape, len(backgrounds)), np.nan)
    # How a row reacts to clean queries is looked at once, however many queries it matches.
    known: dict[int, FloatArray] = {}
    passes = Passes(model.module)
    matches = max(candidates.shape[1], 1)
    step = max(rows.rows_at_once(QUERIES_PER_READ * matches) // matches, 1)
    starts = range(0, len(positions), step)
    for start in track(starts, f"unlearning {queries.role}", len(starts)):
        part = slice(start, start + step)
        matched = np.unique(candidates[part][candidates[part] >= 0])
        if len(matched) == 0:
            continue
        read = _Read.of(model, task, rows, matched, passes)
        base = read.losses(slice(None), ITSELF)
        new = np.array([row not in known for row in matched.tolist()])
        if new.any():
            lines = np.flatnonzero(new)
            reaction = read.losses(lines, backgrounds) - base[lines]
            known.update(zip(matched[lines].tolist(), reaction, strict=True))
        models = each_unlearned(model, task, queries, positions[part])
        for line, own in zip(range(start, start + len(positions[part])), models, strict=True):
            present = candidates[line] >= 0
            if present.any():
                lines = np.searchsorted(matched, candidates[line, present])
                changes[line, present] = (read.losses(lines, [own]) - base[lines])[:, 0]
                background[line, present] = [known[row] for row in matched[lines].tolist()]
    return changes, background


@dataclass(frozen=True)
class _Read:
    """Some rows, read and turned into inputs once."""

    passes: Passes
    task: Task
    inputs: Inputs
    labels: torch.Tensor

    @classmethod
    def of(
        cls, model: TrainedModel, task: Task, rows: Samples, positions: IndexArray, passes: Passes
    ) -> _Read:
        """Read the rows at `positions`."""
        batch = rows.take(positions)
        labels = torch.as_tensor(batch.labels, device=model.device)
        return cls(passes, task, model.inputs(batch, rows), labels)

    def losses(
        self, lines: IndexArray | slice, perturbations: Sequence[Perturbation]
    ) -> FloatArray:
        """Return the loss of rows under each perturbed model, `[lines, perturbations]`, nats."""
        chosen = lines if isinstance(lines, slice) else torch.as_tensor(lines)
        inputs, labels = _rows_of(self.inputs, chosen), self.labels[chosen]
        return self.passes.losses(self.task, inputs, labels, perturbations).cpu().numpy()


def _rows_of(inputs: Inputs, chosen: slice | torch.Tensor) -> Inputs:
    """Return some rows of a batch of inputs."""
    return map_tensors(lambda tensor: tensor[chosen], inputs)

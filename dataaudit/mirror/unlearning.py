"""Mirrored influence of pairs: unlearn one query, and see how chosen rows react.

Ko et al. (CVPR 2024) find leaked samples by one ascending Adam step on the query. What one step
does to a row says little by itself, because rows differ widely in how much any step moves them;
so each row's reaction is set against its reaction to queries known to be clean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples
from dataaudit.models.parameters import moving_parameters
from dataaudit.models.trained import TrainedModel, forward
from dataaudit.progress import track
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.tasks import Task

LEARNING_RATE = 1e-4
ROWS_PER_BATCH = 256
_ADAM_EPSILON = 1e-8

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


def unlearned(model: TrainedModel, task: Task, queries: Samples, position: int) -> Perturbation:
    """Return the model after one ascending Adam step on the loss of one query.

    The first step of Adam moves every parameter by the learning rate in the direction of its
    gradient's sign, whatever the size of the gradient; so the step is bounded.
    """
    batch = queries.take([position])
    moving = moving_parameters(model.module, "all")
    with torch.enable_grad():
        labels = torch.as_tensor(batch.labels, device=model.device)
        loss = task.losses(forward(model.module, model.inputs(batch, queries)), labels).sum()
        gradients = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
    tensors = {
        name: parameter.detach() + LEARNING_RATE * gradient / (gradient.abs() + _ADAM_EPSILON)
        for (name, parameter), gradient in zip(moving.items(), gradients, strict=True)
        if gradient is not None
    }
    return Perturbation(tensors)


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
    wanted = np.unique(candidates[candidates >= 0])
    place = np.full(int(wanted.max(initial=-1)) + 1, -1)
    place[wanted] = np.arange(len(wanted))
    base = np.empty(len(wanted))
    clean = np.empty((len(wanted), len(backgrounds)))
    for start in range(0, len(wanted), ROWS_PER_BATCH):
        part = slice(start, start + ROWS_PER_BATCH)
        losses = _losses(model, task, rows, wanted[part], [UNPERTURBED, *backgrounds])
        base[part], clean[part] = losses[:, 0], losses[:, 1:] - losses[:, :1]

    changes = np.full(candidates.shape, np.nan)
    background = np.full((*candidates.shape, len(backgrounds)), np.nan)
    for line, position in enumerate(track(positions, f"unlearning {queries.role}")):
        present = candidates[line] >= 0
        if present.any():
            matched = candidates[line, present]
            own = unlearned(model, task, queries, int(position))
            after = _losses(model, task, rows, matched, [own])[:, 0]
            changes[line, present] = after - base[place[matched]]
            background[line, present] = clean[place[matched]]
    return changes, background


def _losses(
    model: TrainedModel,
    task: Task,
    rows: Samples,
    positions: IndexArray,
    perturbations: Sequence[Perturbation],
) -> FloatArray:
    """Return the loss of each row under each perturbed model, `[rows, perturbations]`, nats."""
    batch = rows.take(positions)
    inputs = model.inputs(batch, rows)
    labels = torch.as_tensor(batch.labels, device=model.device)
    columns = []
    with torch.inference_mode():
        for perturbation in perturbations:
            outputs = forward(perturbation.apply(model.module), inputs)
            # Double, because the change is a small difference of two losses.
            columns.append(task.losses(outputs.double(), labels).cpu().numpy())
    return np.stack(columns, axis=1)

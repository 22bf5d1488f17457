"""References: trusted samples given the history of training rows, some under a wrong label.

How suspicious does a wrong label look, on this model and these data? Trusted samples tell: some
are given a wrong label on purpose, and all are learned until they are as familiar to the model as
its training rows. What the models then say about the right and the wrong ones is the yardstick
for the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataaudit.mirror.finite import Elsewhere, FiniteSettings, Part, finite_mirror
from dataaudit.mirror.queries import Pool, endless_batches
from dataaudit.models.trained import TrainedModel
from dataaudit.scoring.passes import Passes
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.tasks import AuditTask, Task
from dataaudit.tasks.task import predictions_of

PLANTED_SHARE = 0.25
LEARNING_RATE = 2e-3
STEPS, MOST_PASSES = 72, 20
"""Enough of a rate that cools down: 8 passes over 400 references bring what 20 at a constant rate
do, at a third of the cost, and disturb the rows less (docs/mislabels.md)."""
ROWS_COMPARED = 1000
QUANTILES = (0.5, 0.75, 0.9, 0.95)
SAMPLES_PER_FORWARD = 250


@dataclass(frozen=True)
class PlantedPool:
    """Trusted samples and the labels that they are learned under.

    Attributes
    ----------
    pool : Pool
        Held-out samples, under their right label or under a wrong one.
    planted : bool `[references]`
        Which labels are wrong.
    """

    pool: Pool
    planted: NDArray[np.bool_]


def plant(model: TrainedModel, task: AuditTask, trusted: Pool, seed: int) -> PlantedPool:
    """Give a share of the trusted samples a wrong label, of the kind that the task knows."""
    generator = np.random.default_rng(seed)
    count = round(PLANTED_SHARE * len(trusted))
    planted = np.zeros(len(trusted), dtype=bool)
    planted[generator.permutation(len(trusted))[:count]] = True
    labels = np.array(trusted.labels)
    predictions = pool_predictions(model, task, trusted)
    labels[planted] = task.wrong_labels(predictions, trusted.labels, generator)[planted]
    return PlantedPool(Pool(trusted.samples, trusted.positions, labels), planted)


def familiarise(
    model: TrainedModel,
    task: Task,
    rows: Pool,
    references: PlantedPool,
    settings: FiniteSettings,
    batch_size: int,
    learning_task: Task | None = None,
    elsewhere: Elsewhere | None = None,
) -> Perturbation:
    """Learn the references until the right ones are as familiar to the model as its rows.

    Familiar: at each of four quantiles their loss is at most about that of the rows under their
    given labels. Rows with wrong labels can only raise the rows' upper quantiles, which ends the
    learning sooner, never later than it should. A quarter of every batch is rows, so that
    nothing is forgotten meanwhile.

    Parameters
    ----------
    model : TrainedModel
    task : Task
        Whose losses are compared.
    rows, references, settings, batch_size
    learning_task : Task or None
        Whose losses are learned by, where that is another one.
    elsewhere : Elsewhere or None
        See `finite_mirror`.
    """
    generator = np.random.default_rng(settings.seed)
    count = min(ROWS_COMPARED, len(rows))
    sample = np.sort(generator.choice(len(rows), count, replace=False))
    compared = Pool(rows.samples, rows.positions[sample], rows.labels[sample])
    target = _loss_quantiles(model.module, model, task, compared)
    right = np.flatnonzero(~references.planted)
    pool = references.pool
    known = Pool(pool.samples, pool.positions[right], pool.labels[right])

    def familiar(module: nn.Module) -> bool:
        found = _loss_quantiles(module, model, task, known)
        return bool((found <= 1.5 * target + 0.01).all())

    if familiar(model.module):
        return Perturbation({})
    per_batch, passes, steps = _length(batch_size, len(pool))
    return finite_mirror(
        model.module,
        learning_task or task,
        _batches(model, rows, pool, per_batch, batch_size - per_batch, settings.seed),
        FiniteSettings(
            steps=steps,
            learning_rate=LEARNING_RATE,
            schedule="one cycle",
            check_every=passes,
            parameters=settings.parameters,
            batch_norm=settings.batch_norm,
            dropout=settings.dropout,
            seed=settings.seed,
        ),
        until=familiar,
        elsewhere=elsewhere,
    )


def most_passes(batch_size: int, rows: int, references: int) -> int:
    """Return the forward passes that `familiarise` takes at most; learning a sample costs three."""
    if not references:
        return 0
    _, passes, steps = _length(batch_size, references)
    return 3 * steps * batch_size + min(ROWS_COMPARED, rows) + (1 + steps // passes) * references


def _length(batch_size: int, references: int) -> tuple[int, int, int]:
    """Return the references in each batch, the steps of a pass over them, and all steps."""
    per_batch = max(1, batch_size * 3 // 4)
    passes = -(-references // per_batch)
    return per_batch, passes, min(STEPS, MOST_PASSES * passes)


def _batches(
    model: TrainedModel, rows: Pool, references: Pool, ours: int, theirs: int, seed: int
) -> Iterator[list[Part]]:
    ours_drawn = endless_batches(model, [references], ours, seed)
    rows_drawn = endless_batches(model, [rows], max(1, theirs), seed + 1)
    while True:
        yield [*next(ours_drawn), *next(rows_drawn)]


def _loss_quantiles(
    module: nn.Module, model: TrainedModel, task: Task, pool: Pool
) -> NDArray[np.float64]:
    return np.quantile(pool_losses(module, model, task, pool), QUANTILES)


def pool_losses(
    module: nn.Module,
    model: TrainedModel,
    task: Task,
    pool: Pool,
    perturbation: Perturbation = UNPERTURBED,
) -> NDArray[np.float64]:
    """Return the loss of each sample under the pool's labels, `[n]`, nats.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode.
    model : TrainedModel
        Preprocesses the samples.
    task, pool
    perturbation : Perturbation
        Of the module.
    """
    parts: list[Tensor] = []
    for part, outputs in _outputs(module, model, pool, perturbation):
        labels = torch.tensor(pool.labels[part], device=outputs.device)
        parts.append(task.losses(outputs, labels).double().cpu())
    return torch.cat(parts).numpy()


def pool_predictions(
    model: TrainedModel, task: Task, pool: Pool, perturbation: Perturbation = UNPERTURBED
) -> NDArray[np.float64]:
    """Return a model's predictions for the samples of a pool under its labels, `[n, width]`."""
    parts = []
    for part, outputs in _outputs(model.module, model, pool, perturbation):
        labels = torch.tensor(pool.labels[part], device=outputs.device)
        parts.append(predictions_of(task, outputs, labels).double())
    return torch.cat(parts).cpu().numpy()


def _outputs(
    module: nn.Module, model: TrainedModel, pool: Pool, perturbation: Perturbation
) -> Iterator[tuple[slice, Tensor]]:
    """Yield which samples of a pool come next, and a module's outputs for them."""
    passes, step = Passes(module), pool.samples.rows_at_once(SAMPLES_PER_FORWARD)
    for start in range(0, len(pool), step):
        part = slice(start, start + step)
        inputs = model.inputs(pool.take(part), pool.samples)
        for outputs in passes.outputs(inputs, [perturbation]):
            yield part, outputs

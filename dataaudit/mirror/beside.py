"""Beside the mirror: models that learn again without the row, of tags.

A mirror learns every row, and among several tags of a row one that is wrong may be learned with
those that are right. What has not learned the row cannot. It also knows less, so that both are
asked, and weighed on the references (compared in docs/measurements/tasks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dataaudit.flags.inputs import View
from dataaudit.flags.probabilities import row_blocks
from dataaudit.inputs import Loaded
from dataaudit.mirror.finite import Elsewhere, finite_mirror
from dataaudit.mirror.plan import FOLDS_BESIDE, Plan
from dataaudit.mirror.queries import Pool, endless_batches
from dataaudit.mirror.references import pool_losses, pool_predictions
from dataaudit.mirror.shrink import shrunk
from dataaudit.progress import track
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.storage.on_disk import blank

BATCH_SIZE = 16
"""Of the same number of samples, more and smaller steps teach fresh weights more."""
USELESS = 0.9
"""Share of the loss of guessing by what is frequent, on trusted samples that were left out."""
NAME = "learned again without the row"

Keep = Callable[[str, Callable[[], Perturbation]], Perturbation]
"""Takes the name of a model and what learns it, and returns the model: learned, or read back."""


def judged_beside(
    loaded: Loaded, plan: Plan, keep: Keep, elsewhere: Elsewhere | None = None
) -> View | None:
    """Let the model learn again without each fold of the samples, and judge that fold.

    All together learn as many samples as one mirror does.

    Parameters
    ----------
    loaded : Loaded
        With trusted samples.
    plan : Plan
        Of the mirror beside them.
    keep : callable
    elsewhere : Elsewhere or None
        See `finite_mirror`.

    Returns
    -------
    View or None
        Predictions `[rows, width]` and `[trusted, width]`. None where the first model tells little
        more of trusted samples than what is frequent: of a large network that started from weights
        that are not given, say.
    """
    assert loaded.held_out is not None
    pools = [Pool.of(loaded.train), Pool.of(loaded.held_out)]
    generator = np.random.default_rng(plan.settings.seed)
    folds = [generator.permutation(len(pool)) % FOLDS_BESIDE for pool in pools]
    tables: list[NDArray[np.float32]] = []
    for fold in track(range(FOLDS_BESIDE), "learning without the row"):
        within = [own != fold for own in folds]
        others = [pool.chosen(own) for pool, own in zip(pools, within, strict=True)]
        seed = FOLDS_BESIDE * plan.settings.seed + fold
        learned = keep(f"fold {fold}", partial(_learned, loaded, plan, others, seed, elsewhere))
        left_out = [pool.chosen(~own) for pool, own in zip(pools, within, strict=True)]
        if not tables:
            if not _knows(loaded, left_out[1], learned):
                return None
            tables = [_table(loaded, pool) for pool in pools]
        for pool, table in zip(left_out, tables, strict=True):
            for rows in row_blocks(len(pool), table.shape[1]):
                part = pool.chosen(rows)
                said = pool_predictions(loaded.model, loaded.task, part, learned)
                table[part.positions] = said
    rows_said, trusted_said = tables
    return View(NAME, rows_said, trusted_said)


def _learned(
    loaded: Loaded, plan: Plan, others: Sequence[Pool], seed: int, elsewhere: Elsewhere | None
) -> Perturbation:
    """Return the model that learned some samples from fresh or initial weights."""
    model = loaded.model
    batch_size = min(BATCH_SIZE, plan.batch_size)
    steps = max(1, round(plan.settings.steps * plan.batch_size / (FOLDS_BESIDE * batch_size)))
    settings = replace(plan.settings, steps=steps, average=max(0.0, 1 - 10 / steps), seed=seed)
    return finite_mirror(
        model.module,
        loaded.learning_task or loaded.task,
        endless_batches(model, others, batch_size, seed),
        settings,
        shrunk(model.module, UNPERTURBED, 0.0, settings.parameters, seed, model.initial),
        shown=False,
        elsewhere=elsewhere,
    )


def _knows(loaded: Loaded, left_out: Pool, learned: Perturbation) -> bool:
    losses = pool_losses(loaded.model.module, loaded.model, loaded.task, left_out, learned)
    return bool(losses.mean() <= USELESS * loaded.task.guessing_loss(left_out.labels))


def _table(loaded: Loaded, pool: Pool) -> NDArray[np.float32]:
    """Return a table for what is said of a pool, `[n, width]`, zeros; on disk where it is large."""
    width = pool_predictions(loaded.model, loaded.task, pool.chosen(slice(0, 1))).shape[1]
    return np.asarray(blank(len(pool) * width, np.dtype(np.float32))).reshape(len(pool), width)

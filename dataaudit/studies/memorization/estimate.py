"""Memorization by mirrored unlearning: relearn half of the rows, and ask the other half.

Feldman and Zhang ("What neural networks memorize and why", NeurIPS 2020) define the memorization
of a row as what training on it adds to the chance that its own label is predicted. They estimate
it from hundreds of models, each trained on a random part of the rows. Here the trained model is
taken instead: its weights are moved part of the way to fresh ones, which unlearns single rows and
leaves features, and it relearns a random half of the rows. What a row of the other half has lost
by then is what the model knew by having been trained on that row. Two models serve all rows, so
that n rows do not cost n trainings; a few more draws average the chance of the halves away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples
from dataaudit.mirror.finite import FiniteSettings, Part, finite_mirror
from dataaudit.mirror.queries import Pool, endless_batches
from dataaudit.mirror.shrink import shrunk
from dataaudit.models.trained import TrainedModel
from dataaudit.progress import track
from dataaudit.scoring.engine import Engine
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.studies.memorization.settings import MemorizationSettings
from dataaudit.tasks import Task

Floats = NDArray[np.float64]
FEWEST_ROWS = 20
FEWEST_STEPS = 5


@dataclass(frozen=True)
class Estimated:
    """What was found of each row.

    Attributes
    ----------
    likelihood : float64 `[rows]`
        Of the row's own label under the trained model, exp(-loss), 0 to 1.
    likelihood_without : float64 `[rows]`
        The same under the models that relearned the other rows, averaged over draws.
    spread : float64 `[rows]`
        Standard error of `likelihood_without`; NaN with two draws, of which one asks each row.
    """

    likelihood: Floats
    likelihood_without: Floats
    spread: Floats

    @property
    def memorization(self) -> Floats:
        """What having been trained on the row adds, `[rows]`, -1 to 1; positive: memorized."""
        return self.likelihood - self.likelihood_without


def estimate(
    model: TrainedModel,
    task: Task,
    rows: Samples,
    engine: Engine,
    settings: MemorizationSettings,
    seed: int,
) -> Estimated:
    """Estimate the memorization of every row.

    Parameters
    ----------
    model : TrainedModel
    task : Task
    rows : Samples
        At least 20.
    engine : Engine
        Runs the forward passes.
    settings : MemorizationSettings
    seed : int
        Of the halves, the fresh weights and the order.
    """
    left_out = halves(len(rows), settings.draws, seed)
    relearned = [
        relearn_without(model, task, rows, out, settings, seed + draw)
        for draw, out in enumerate(track(left_out, "relearning halves of the rows"))
    ]
    return _asked(model, task, rows, engine, relearned, left_out)


def halves(rows: int, draws: int, seed: int) -> list[NDArray[np.bool_]]:
    """Return which rows each draw leaves out, `[rows]` each: both halves of each random split."""
    generator = np.random.default_rng(seed)
    result = []
    for _ in range(draws // 2):
        first = np.zeros(rows, dtype=np.bool_)
        first[generator.permutation(rows)[: rows // 2]] = True
        result += [first, ~first]
    return result


def relearn_without(
    model: TrainedModel,
    task: Task,
    rows: Samples,
    left_out: NDArray[np.bool_],
    settings: MemorizationSettings,
    seed: int,
) -> Perturbation:
    """Return the model after it has relearned all rows but those left out, `[rows]`."""
    pool = Pool.of(rows, np.flatnonzero(~left_out))
    batch_size = min(rows.rows_at_once(settings.batch_size), len(pool))
    start = UNPERTURBED
    if settings.keep < 1:
        start = shrunk(model.module, UNPERTURBED, settings.keep, "all", seed)
    steps = max(FEWEST_STEPS, round(settings.passes * len(pool) / batch_size))
    finite = FiniteSettings(
        steps=steps,
        learning_rate=settings.learning_rate,
        schedule="one cycle",
        batch_norm="updated",
        seed=seed,
    )
    batches: Iterator[list[Part]] = endless_batches(model, [pool], batch_size, seed)
    return finite_mirror(model.module, task, batches, finite, start)


def _asked(
    model: TrainedModel,
    task: Task,
    rows: Samples,
    engine: Engine,
    relearned: Sequence[Perturbation],
    left_out: Sequence[NDArray[np.bool_]],
) -> Estimated:
    """Score every row under the models that did not relearn it."""
    likelihood = np.empty(len(rows))
    without, spread = np.empty(len(rows)), np.empty(len(rows))
    for block in engine.score(model, task, rows, relearned):
        span = slice(block.start, block.start + len(block))
        found = np.exp(-block.losses.astype(np.float64))
        asked = np.stack([out[span] for out in left_out], axis=1)
        count = asked.sum(axis=1)
        mean = (found[:, 1:] * asked).sum(axis=1) / count
        squares = ((found[:, 1:] - mean[:, None]) ** 2 * asked).sum(axis=1)
        likelihood[span], without[span] = found[:, 0], mean
        with np.errstate(invalid="ignore"):
            spread[span] = np.sqrt(squares / (count - 1) / count)
    return Estimated(likelihood, without, spread)

"""Learn again: the mirror behind mislabel flags.

How plausible is each given label once the model has learned again, briefly, from rows and trusted
samples together? What they share comes back at once; single wrong labels do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import roc_auc_score

from dataaudit.datasets.frames import spread
from dataaudit.errors import ModelError
from dataaudit.inputs import Loaded
from dataaudit.mirror.augmentation import augmented
from dataaudit.mirror.finite import Part, finite_mirror
from dataaudit.mirror.learners import Learners
from dataaudit.mirror.plan import Attempt, Plan
from dataaudit.mirror.queries import Pool, endless_batches
from dataaudit.mirror.references import PlantedPool, familiarise, plant, pool_losses
from dataaudit.mirror.shrink import shrunk
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.scoring.prefetch import prefetched

WORKS = 0.6
"""Area under the ROC curve from which wrong references count as told from right ones."""
USELESS = 0.9
"""Without references: share of the loss of guessing by what is frequent."""
ROWS_CHECKED = 500
SEEDS_APART = 1_000_003


@dataclass(frozen=True)
class Mirror:
    """What the mirror made.

    Attributes
    ----------
    familiar : Perturbation
        The model to which the references are as familiar as its training rows.
    relearned : sequence of Perturbation
        The models that learned again, each from other fresh weights and in another order; what
        they say is averaged. None where probes alone are asked.
    references : PlantedPool or None
        None where there were too few held-out samples, or nothing learns again.
    attempt : Attempt
        The one that was taken.
    flip : bool
        Whether flipped images are what they were; the rows are then scored both ways.
    workers : int
        The most that took part in a step; 0 where all steps were taken in one process.
    """

    familiar: Perturbation
    relearned: Sequence[Perturbation]
    references: PlantedPool | None
    attempt: Attempt
    flip: bool
    workers: int = 0


def relearn(loaded: Loaded, plan: Plan, learners: Learners | None = None) -> Mirror:
    """Let the model learn training rows and trusted samples again.

    An attempt that wrecks the model (a pretrained model hardly survives fresh weights and large
    steps) cannot tell wrong references from right ones; then the next, gentler one is tried.

    Parameters
    ----------
    loaded : Loaded
    plan : Plan
    learners : Learners or None
        Workers that may compute gradients.
    """
    model, task = loaded.model, loaded.task
    rows = Pool.of(loaded.train)
    references, familiar = None, UNPERTURBED
    if not plan.learns:
        return Mirror(familiar, [], None, Attempt(1.0, 0.0), plan.flip)
    if loaded.held_out is not None and len(plan.references):
        trusted = Pool.of(loaded.held_out, plan.references)
        references = plant(model, task, trusted, plan.settings.seed)
        familiar = familiarise(
            model,
            task,
            rows,
            references,
            plan.settings,
            plan.batch_size,
            loaded.learning_task,
            learners,
        )

    def learned(attempt: Attempt, repeat: int) -> Perturbation:
        return _learned_again(loaded, plan, attempt, rows, references, familiar, repeat, learners)

    best: tuple[float, Mirror] | None = None
    for attempt in plan.attempts:
        first = learned(attempt, repeat=0)
        quality, enough = _quality(loaded, first, references)
        if best is None or quality > best[0]:
            best = quality, Mirror(familiar, [first], references, attempt, plan.flip)
        if quality >= enough:
            break
    assert best is not None
    if best[0] == -math.inf:
        rates = ", ".join(f"{attempt.learning_rate:g}" for attempt in plan.attempts)
        raise ModelError(
            "mirror: the model no longer returns finite numbers once it has learned again "
            f"(learning rate {rates}); set a smaller `mirror: {{learning_rate: ...}}`"
        )
    mirror = best[1]
    others = [learned(mirror.attempt, repeat) for repeat in range(1, plan.mirrors)]
    workers = 0 if learners is None else learners.workers
    return replace(mirror, relearned=[*mirror.relearned, *others], workers=workers)


def _learned_again(
    loaded: Loaded,
    plan: Plan,
    attempt: Attempt,
    rows: Pool,
    references: PlantedPool | None,
    familiar: Perturbation,
    repeat: int,
    learners: Learners | None,
) -> Perturbation:
    module, seed = loaded.model.module, plan.settings.seed + SEEDS_APART * repeat
    start = familiar
    if attempt.keep < 1:
        moved, initial = plan.settings.parameters, loaded.model.initial
        start = shrunk(module, familiar, attempt.keep, moved, seed, initial)
    settings = replace(plan.settings, learning_rate=attempt.learning_rate, seed=seed)
    task = loaded.learning_task or loaded.task
    # What the next step learns is read and preprocessed while the model learns.
    with closing(prefetched(_steps(loaded, plan, rows, references, seed))) as steps:
        return finite_mirror(module, task, steps, settings, start, elsewhere=learners)


def _steps(
    loaded: Loaded, plan: Plan, rows: Pool, references: PlantedPool | None, seed: int
) -> Iterator[list[Part]]:
    """Yield what each step learns."""
    pools = [rows] if references is None else [rows, references.pool]
    decks = [endless_batches(loaded.model, pools, plan.batch_size, seed)]
    if plan.trusted_per_step and loaded.held_out is not None:
        trusted = Pool.of(loaded.held_out, plan.trusted)
        decks.append(endless_batches(loaded.model, [trusted], plan.trusted_per_step, seed + 1))
    if plan.augment:
        decks = [augmented(deck, plan.flip, seed + place) for place, deck in enumerate(decks)]
    while True:
        yield [part for deck in decks for part in next(deck)]


def _quality(
    loaded: Loaded, relearned: Perturbation, references: PlantedPool | None
) -> tuple[float, float]:
    """Return how well the model works, and from which value on that is enough.

    Minus infinity where its losses are no numbers any more.
    """
    model, task = loaded.model, loaded.task
    if references is not None:
        losses = pool_losses(model.module, model, task, references.pool, relearned)
        if not np.isfinite(losses).all():
            return -math.inf, WORKS
        return float(roc_auc_score(references.planted, losses)), WORKS
    rows = Pool.of(loaded.train, spread(len(loaded.train), ROWS_CHECKED))
    loss = float(pool_losses(model.module, model, task, rows, relearned).mean())
    quality = -loss if math.isfinite(loss) else -math.inf
    return quality, -USELESS * task.guessing_loss(loaded.train.labels)

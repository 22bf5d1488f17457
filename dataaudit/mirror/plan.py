"""The plan: what the mirror learns, how many steps, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dataaudit.config import AuditConfig
from dataaudit.loading import Loaded
from dataaudit.mirror.augmentation import are_images, augmented, flip_is_harmless
from dataaudit.mirror.finite import FiniteSettings, Part, finite_mirror
from dataaudit.mirror.perturbation import UNPERTURBED, Perturbation
from dataaudit.models.trained import forward
from dataaudit.queries import HeldOutSplit, Positions, endless_batches, split_held_out

BATCH_SIZE = 64
EPOCHS = 5
FEWEST_STEPS, MOST_STEPS = 200, 4000
KEPT_BACK_SHARE = 0.2
"""Of the held-out samples, for calibration; they are never learned."""
FEWEST_KEPT_BACK = 50
HELD_OUT_SHARE = 0.2
"""Largest share of held-out samples in a batch."""
MOST_EXPOSURES = 12
"""A held-out sample that is seen more often is learned by heart."""
LEARNING_RATES = (4e-3, 5e-4, 5e-5)
"""Tried in turn until one does not wreck the model; pretrained models need the small ones."""
WRECKED = 0.1
"""A step size wrecks the model when its loss on kept-back samples grows by more than this share
of what guessing by class frequency costs."""
USELESS = 0.9
"""Without kept-back samples: when its loss on rows exceeds this share of guessing's."""


@dataclass(frozen=True)
class Plan:
    """How an audit mirrors.

    Attributes
    ----------
    settings : FiniteSettings
    split : HeldOutSplit
        Held-out positions that are learned, and that are kept back for calibration.
    rows_per_step, held_out_per_step : int
        How many training rows and held-out samples each step learns.
    learning_rates : sequence of float
        To be tried in turn.
    flip : bool
        Whether images are flipped at random.
    reason : str
        For the log and the report.
    """

    settings: FiniteSettings
    split: HeldOutSplit
    rows_per_step: int
    held_out_per_step: int
    learning_rates: Sequence[float]
    flip: bool
    reason: str

    @property
    def forward_passes(self) -> float:
        """Cost of the steps in forward passes of one sample; a step on a sample costs three."""
        return 3.0 * self.settings.steps * (self.rows_per_step + self.held_out_per_step)


def make_plan(loaded: Loaded, config: AuditConfig) -> Plan:
    """Choose the mirror for these data and settings."""
    mirror = config.mirror
    batch_size = min(mirror.batch_size or BATCH_SIZE, len(loaded.train))
    steps = mirror.steps or int(
        np.clip(EPOCHS * len(loaded.train) / batch_size, FEWEST_STEPS, MOST_STEPS)
    )
    split = _split(loaded, mirror.seed)
    exposures = MOST_EXPOSURES * len(split.learned) / steps
    held_out = min(int(batch_size * HELD_OUT_SHARE), round(exposures), len(split.learned))
    rates = [mirror.learning_rate] if mirror.learning_rate else LEARNING_RATES
    settings = FiniteSettings(
        steps=steps,
        learning_rate=rates[0],
        schedule="one cycle",
        average=0.98,
        parameters=mirror.parameters,
        batch_norm=mirror.batch_norm,
        dropout=mirror.dropout,
        seed=mirror.seed,
    )
    flip = _may_flip(loaded)
    reason = (
        f"{steps} steps, each learning {batch_size - held_out} training rows with their given "
        f"labels and {held_out} held-out samples; {len(split.kept_back)} held-out samples kept "
        f"back for calibration{'; images shifted and flipped at random' if flip else ''}"
    )
    return Plan(settings, split, batch_size - held_out, held_out, rates, flip, reason)


def learn(loaded: Loaded, plan: Plan) -> Perturbation:
    """Let the model learn training rows and held-out samples together, from where it stands.

    What the rows and the trusted samples share is learned (again) in these few steps; single
    wrong labels are not, and come out with a high loss.
    """
    check = _kept_back(loaded, plan)
    guessing = _entropy(loaded.train.labels)
    limit = _mean_loss(loaded, UNPERTURBED, check) + WRECKED * guessing
    if len(plan.split.kept_back) == 0:
        # The loss on memorized rows says nothing; what guessing by frequency costs does.
        limit = max(limit, USELESS * guessing)
    best: tuple[float, Perturbation] | None = None
    for rate in plan.learning_rates:
        settings = replace(plan.settings, learning_rate=rate)
        perturbation = finite_mirror(
            loaded.model.module, loaded.task, _steps(loaded, plan), settings
        )
        after = _mean_loss(loaded, perturbation, check)
        if best is None or after < best[0]:
            best = after, perturbation
        if after <= limit:
            break
    assert best is not None
    return best[1]


def _split(loaded: Loaded, seed: int) -> HeldOutSplit:
    if loaded.held_out is None:
        nothing = np.zeros(0, dtype=np.int64)
        return HeldOutSplit(nothing, nothing)
    # Calibration needs its samples more than learning does, when there are few.
    share = max(KEPT_BACK_SHARE, min(1.0, FEWEST_KEPT_BACK / len(loaded.held_out)))
    return split_held_out(loaded.held_out.labels, share, seed)


def _may_flip(loaded: Loaded) -> bool:
    if loaded.held_out is None:
        return False
    positions = np.arange(min(500, len(loaded.held_out)))
    part = _part(loaded, positions)
    return are_images(part[0]) and flip_is_harmless(loaded.model, loaded.task, part)


def _part(loaded: Loaded, positions: Positions) -> Part:
    assert loaded.held_out is not None
    batch = loaded.held_out.take(positions)
    labels = torch.as_tensor(batch.labels, device=loaded.model.device)
    return loaded.model.inputs(batch, loaded.held_out), labels


def _steps(loaded: Loaded, plan: Plan) -> Iterator[list[Part]]:
    """Yield what each step learns."""
    seed = plan.settings.seed
    model, train = loaded.model, loaded.train
    rows = endless_batches(model, train, np.arange(len(train)), plan.rows_per_step, seed)
    decks = [augmented(rows, plan.flip, seed)]
    if plan.held_out_per_step and loaded.held_out is not None:
        trusted = endless_batches(
            model, loaded.held_out, plan.split.learned, plan.held_out_per_step, seed + 1
        )
        decks.append(augmented(trusted, plan.flip, seed + 1))
    while True:
        yield [next(deck) for deck in decks]


def _kept_back(loaded: Loaded, plan: Plan) -> Part:
    """Return what tells whether the model still works: kept-back samples, else training rows."""
    if len(plan.split.kept_back):
        return _part(loaded, plan.split.kept_back[:500])
    batch = loaded.train.take(np.arange(min(500, len(loaded.train))))
    labels = torch.as_tensor(batch.labels, device=loaded.model.device)
    return loaded.model.inputs(batch, loaded.train), labels


def _entropy(labels: NDArray[np.int64]) -> float:
    shares = np.bincount(labels) / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _mean_loss(loaded: Loaded, perturbation: Perturbation, part: Part) -> float:
    with torch.inference_mode():
        outputs = forward(perturbation.apply(loaded.model.module), part[0])
        return float(loaded.task.losses(outputs, part[1]).mean())

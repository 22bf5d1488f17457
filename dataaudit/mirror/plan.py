"""The plan: what the mirror learns, how many steps, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dataaudit.config import AuditConfig
from dataaudit.inputs import Loaded
from dataaudit.mirror.augmentation import are_images, flip_is_harmless
from dataaudit.mirror.finite import FiniteSettings
from dataaudit.mirror.queries import Pool, Positions, endless_batches

BATCH_SIZE = 64
FEWEST_STEPS = 120
FEWEST_STEPS_FOR_SETS = 400
"""Of label sets, which are several questions at once: with 120 steps .15 to .05 less average
precision on small data (docs/measurements/tasks.md)."""
FEWEST_STEPS_FOR_BOXES = 240
"""Of boxes, where what is learned is many places in each picture."""
FEWEST_STEPS_FROM_INITIAL = 70
"""At standard, of a model that learns again from where its training started: it has less to learn,
and probes speak beside it. On messages that is as good as 120 steps, for 28.9 forward passes a row
instead of 38.5 (docs/measurements/finetuned.md)."""
IMAGE_PASSES_FROM_INITIAL = 6.8
"""The same of images: what 30 forward passes a row leave for learning where a fifth is trusted."""
MOST_REFERENCES = 400
FEWEST_REFERENCES = 40
"""With fewer, there are too few planted errors to calibrate on."""
MOST_OF_EACH = 20
"""Trusted samples of each class that become references before any others do."""
TRUSTED_SHARE = 0.2
"""Largest share of a batch for trusted samples that are no references."""
MOST_EXPOSURES = 12
"""A trusted sample that is learned more often is learned by heart."""


@dataclass(frozen=True)
class Effort:
    """How long the model learns again.

    Attributes
    ----------
    image_passes : float
        Passes over the rows, for images.
    mirrors : int
        Mirrors that are averaged, for other data.
    most_steps : int
        Of each mirror.
    """

    image_passes: float
    mirrors: int
    most_steps: int


EffortName = Literal["quick", "standard", "thorough"]
EFFORTS = {
    # What learns again at a quick audit is a linear layer, on its stored inputs.
    "quick": Effort(7.4, 2, 5000),
    "standard": Effort(7.4, 2, 5000),
    "thorough": Effort(16.0, 5, 12_500),
}
PASSES = 1.25
"""Over the rows, for each mirror of data that are no images."""
FOLDS_BESIDE = 3
"""Of models that learn again without the row, beside the mirror: one for each fold."""
_WITHOUT_THE_ROW = (
    f"; beside it {FOLDS_BESIDE} models from fresh or initial weights, each without a third of the "
    "rows and of the trusted samples, which it then judges"
)


@dataclass(frozen=True)
class Attempt:
    """One way to learn again: the share of trained weights kept, and the learning rate."""

    keep: float
    learning_rate: float


@dataclass(frozen=True)
class Plan:
    """How an audit mirrors.

    Attributes
    ----------
    settings : FiniteSettings
        Of the learning; the learning rate is the first attempt's.
    attempts : sequence of Attempt
        To be tried in turn until one does not wreck the model.
    mirrors : int
        How many times the model learns again, to be averaged.
    batch_size : int
        Of the rows and references together.
    trusted_per_step : int
        Trusted samples beyond the references in each batch.
    references, trusted : int64 positions of held-out samples
        Those that calibrate, and those that are only learned.
    augment, flip : bool
        Whether images are shifted at random, and flipped too.
    reason : str
        For the log and the report.
    beside : bool
        Whether models that learn without the row take the place of one mirror
        (`dataaudit.mirror.beside`).
    """

    settings: FiniteSettings
    attempts: Sequence[Attempt]
    mirrors: int
    batch_size: int
    trusted_per_step: int
    references: Positions
    trusted: Positions
    augment: bool
    flip: bool
    reason: str
    beside: bool = False

    @property
    def learns(self) -> bool:
        """Whether the model learns again at all; where it does not, probes alone are asked."""
        return bool(self.attempts)

    @property
    def forward_passes(self) -> float:
        """Cost of the steps in forward passes of one sample; learning a sample costs three."""
        each = 3.0 * self.settings.steps
        beside = each * self.batch_size if self.beside else 0.0
        return beside + each * self.mirrors * (self.batch_size + self.trusted_per_step)


def plan_of_probes(config: AuditConfig, trusted: int) -> Plan:
    """Return the plan of a quick audit that asks probes on what the model saw before training.

    Nothing has to learn the references, so that all trusted samples are some; errors are planted
    among them where the probes have spoken, which costs no pass.
    """
    mirror = config.mirror
    references, nobody = np.arange(trusted), np.zeros(0, dtype=np.int64)
    settings = FiniteSettings(steps=0, parameters=mirror.parameters, seed=mirror.seed)
    reason = (
        "quick: nothing learns again; linear probes on what the model saw before training "
        f"({trusted} trusted samples, some judged under a wrong label on purpose)"
    )
    return Plan(settings, [], 0, BATCH_SIZE, 0, references, nobody, False, False, reason)


def plan_without_learning(config: AuditConfig, reason: str) -> Plan:
    """Return the plan of an audit without a mirror, for a reason.

    Where labels are judged by an estimator that was fitted anew, or by models that learned without
    each row, a network that learns all of them again would cost most of the time, and be asked
    nothing.
    """
    nobody = np.zeros(0, dtype=np.int64)
    settings = FiniteSettings(steps=0, parameters=config.mirror.parameters, seed=config.mirror.seed)
    return Plan(settings, [], 0, BATCH_SIZE, 0, nobody, nobody, False, False, reason)


def make_plan(
    loaded: Loaded,
    config: AuditConfig,
    effort_name: EffortName = "standard",
    *,
    beside: bool = True,
) -> Plan:
    """Choose the mirror for these data and settings.

    Images are learned longer and from more of the trained weights than other data, because
    augmentation keeps the model from memorizing them anew. Where it cannot, longer learning is no
    use, and two short mirrors rank better than one of twice the steps. A thorough audit takes more
    of either. Of tags, models that learn again without the row take the place of one of the
    mirrors, unless not `beside`.
    """
    mirror = config.mirror
    rows = Pool.of(loaded.train)
    few = min(loaded.train.rows_at_once(64), len(rows))
    sample = next(endless_batches(loaded.model, [rows], few, mirror.seed))[0]
    # Pictures with boxes are shifted with these. What a detector finds in one mirror and another
    # has no mean, so that it needs one alone, as other images have it.
    boxes = loaded.train.kind.own_loss
    augment = boxes or are_images(sample[0])
    usual = loaded.train.rows_at_once(BATCH_SIZE)
    batch_size = min(mirror.batch_size or usual, len(rows))
    effort, fewest = EFFORTS[effort_name], FEWEST_STEPS
    image_passes = effort.image_passes
    if effort_name == "standard" and _starts_known(loaded):
        fewest, image_passes = FEWEST_STEPS_FROM_INITIAL, IMAGE_PASSES_FROM_INITIAL
    passes, keep, mirrors = (image_passes, 0.5, 1) if augment else (PASSES, 0.25, effort.mirrors)
    if loaded.train.kind.several:
        fewest = FEWEST_STEPS_FOR_SETS
    if boxes:
        fewest = FEWEST_STEPS_FOR_BOXES
    steps = mirror.steps or int(
        np.clip(round(passes * len(rows) / batch_size), fewest, effort.most_steps)
    )
    held_out = 0 if loaded.held_out is None else len(loaded.held_out)
    order = np.random.default_rng(mirror.seed).permutation(held_out)
    if loaded.held_out is not None and loaded.train.kind.probed:
        order = _rare_first(order, loaded.held_out.labels)
    references, trusted = np.sort(order[:MOST_REFERENCES]), np.sort(order[MOST_REFERENCES:])
    if held_out < FEWEST_REFERENCES:
        references, trusted = trusted, references
    wanted = min(TRUSTED_SHARE * batch_size, MOST_EXPOSURES * len(trusted) / steps)
    trusted_per_step = max(1, round(wanted)) if len(trusted) else 0
    attempts = [Attempt(keep, 4e-3), Attempt(1.0, 5e-4), Attempt(1.0, 5e-5)]
    if mirror.learning_rate is not None:
        attempts = [Attempt(keep, mirror.learning_rate)]
    settings = FiniteSettings(
        steps=steps,
        learning_rate=attempts[0].learning_rate,
        # Of the same passes it learns more: .669 for .643 average precision on memorized CIFAR-10N
        # (docs/mislabels.md). A pass over texts and tables is too short for it to matter.
        optimizer="muon" if augment else "adamw",
        schedule="one cycle",
        average=max(0.0, 1 - 10 / steps),
        parameters=mirror.parameters,
        batch_norm=mirror.batch_norm,
        dropout=mirror.dropout,
        seed=mirror.seed,
    )
    # Outputs of flipped pictures are flipped, too: they would have to be turned back.
    flip = augment and not (boxes or loaded.train.kind.per_pixel) and _may_flip(loaded)
    changes = "shifted and flipped" if flip else "shifted"
    head = mirror.kind == "head" or effort_name == "quick"
    beside = (
        beside
        and loaded.train.kind.beside
        and mirrors > 1
        and not head
        and mirror.parameters == "all"  # What is frozen may know the labels.
        and held_out >= FEWEST_REFERENCES
    )
    mirrors -= int(beside)
    kind = "head (the last linear layer alone)" if head else "finite"
    reason = (
        f"{effort_name}: {kind}, {f'{mirrors} times ' if mirrors > 1 else ''}{steps} steps, "
        f"each on {batch_size} training rows and references ({len(references)} trusted samples, "
        f"some under a wrong label on purpose) and {trusted_per_step} other trusted samples"
        f"{f'; images {changes} at random' if augment else ''}"
        f"{_WITHOUT_THE_ROW if beside else ''}"
    )
    return Plan(
        settings,
        attempts,
        mirrors,
        max(1, batch_size - trusted_per_step),
        trusted_per_step,
        references,
        trusted,
        augment,
        flip,
        reason,
        beside,
    )


def _starts_known(loaded: Loaded) -> bool:
    """Tell whether probes are asked what the model saw before it was trained."""
    return loaded.model.initial is not None and loaded.train.kind.probed


def _rare_first(order: Positions, labels: Positions) -> Positions:
    """Return the order with some samples of each class at its beginning, as far as there are any.

    Else the references would lack rare classes, and nothing could be measured on them.
    """
    classes, drawn = np.unique(labels[order], return_inverse=True)
    wanted = min(MOST_OF_EACH, MOST_REFERENCES // (2 * len(classes)))
    first = np.zeros(len(order), dtype=bool)
    for label in range(len(classes)):
        first[np.flatnonzero(drawn == label)[:wanted]] = True
    return np.concatenate([order[first], order[~first]])


def _may_flip(loaded: Loaded) -> bool:
    """Ask the model whether a flip keeps its held-out images what they are."""
    if loaded.held_out is None:
        return False
    pool = Pool.of(loaded.held_out)
    few = min(loaded.held_out.rows_at_once(500), len(pool))
    (part,) = next(endless_batches(loaded.model, [pool], few, seed=0))
    return flip_is_harmless(loaded.model, loaded.task, part)

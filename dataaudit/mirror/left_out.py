"""Learning again without the row: every sample judged by models that have learned the others.

A reward model has one bit for each pair of texts, and learns hundreds of pairs by heart in a few
passes. What it says then of a label that it has learned is worth little, however the label was
learned; what it says of a pair that it has not learned is worth as much as on trusted ones. The
same holds of answers to instructions, word for word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import ModelError
from dataaudit.flags.inputs import Unseen, View
from dataaudit.flags.probabilities import softmax
from dataaudit.inputs import Loaded
from dataaudit.labels.answers import WIDTH
from dataaudit.mirror.finite import FiniteSettings, finite_mirror
from dataaudit.mirror.queries import Pool, endless_batches
from dataaudit.mirror.references import PlantedPool, plant, pool_losses, pool_predictions
from dataaudit.mirror.shrink import shrunk
from dataaudit.progress import LEARNING, expect_more, track
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation

FOLDS, REPEATS = 5, 3
"""What is said in all repeats, from other fresh weights and with other folds, is averaged."""
LENGTHS = ((1.5, 15), (3.0, 30), (5.0, 60), (10.0, 120))
"""Passes over the samples, and steps at least; that is taken under which the first fold's left out
samples are likeliest, under the labels that they have."""
OF_ANSWERS = ((1.5, 15), (5.0, 60), (15.0, 240), (30.0, 600))
"""The same of answers: to learn a language takes longer."""
USUAL = OF_ANSWERS[2]
BATCH_SIZE = 64
LEARNING_RATE = 4e-3
Length = tuple[float, int]
NAME = "learned again without the row"
SMALLEST = 1e-12


def most_passes(samples: int, *, written: bool) -> float:
    """Return the forward passes of one sample that all of it takes, at most.

    To learn a sample counts `LEARNING`.
    """
    *shorter, longest = OF_ANSWERS if written else LENGTHS
    learned = sum(_steps_of(length, _others(samples)) for length in shorter)
    learned += FOLDS * REPEATS * _steps_of(longest, _others(samples))
    judged = (REPEATS + (1 + len(shorter)) / FOLDS) * samples
    return LEARNING * BATCH_SIZE * learned + judged


def _others(samples: int) -> int:
    return round(samples * (1 - 1 / FOLDS))


def _steps_of(length: Length, samples: int) -> int:
    passes, fewest = length
    return max(fewest, round(passes * samples / BATCH_SIZE))


def judged_left_out(loaded: Loaded, settings: FiniteSettings) -> Unseen:
    """Let the model learn again without each fold of the samples, and judge that fold.

    Parameters
    ----------
    loaded : Loaded
        With labels that are classes, or answers.
    settings : FiniteSettings
        Which parameters move, and the seed.

    Returns
    -------
    Unseen
        Where labels are answers, trusted samples are judged under the labels of `references_of`.
    """
    splits = [samples for samples in (loaded.train, loaded.held_out) if samples is not None]
    judged, written = [*map(Pool.of, splits)], loaded.train.kind.written
    if written and loaded.held_out is not None:
        judged[1] = references_of(loaded, settings.seed).pool
    width = WIDTH if written else len(loaded.train.classes)
    sums = [np.zeros((len(samples), width)) for samples in splits]
    length: Length | None = None
    for repeat in track(range(REPEATS), "learning without the row"):
        seed = settings.seed + repeat
        generator = np.random.default_rng(seed)
        folds = [generator.permutation(len(samples)) % FOLDS for samples in splits]
        round_ = _Round(loaded, [*map(Pool.of, splits)], folds, replace(settings, seed=seed))
        first: Perturbation | None = None
        if length is None:
            length, first = round_.best_length()
            samples = sum(map(len, splits))
            steps = (FOLDS * REPEATS - 1) * _steps_of(length, _others(samples))
            expect_more(LEARNING * BATCH_SIZE * steps + REPEATS * samples)
        for fold in range(FOLDS):
            learned = first if first is not None and fold == 0 else round_.learned(fold, length)
            for pool, own, found in zip(judged, folds, sums, strict=True):
                left_out = pool.chosen(own == fold)
                if len(left_out) == 0:
                    # A handful of trusted samples is fewer than there are folds.
                    continue
                said = pool_predictions(loaded.model, loaded.task, left_out, learned)
                found[own == fold] += said if written else np.log(np.maximum(said, SMALLEST))
    means = [found / REPEATS for found in sums]
    rows, *trusted = means if written else map(softmax, means)
    right = loaded.train.labels[:0] if loaded.held_out is None else judged[1].labels
    return Unseen([View(NAME, rows, trusted[0] if trusted else rows[:0])], right)


def references_of(loaded: Loaded, seed: int) -> PlantedPool:
    """Return all trusted samples, a quarter of them under a wrong label to be judged under.

    That is never learned, so that nothing is to be made familiar.
    """
    assert loaded.held_out is not None
    return plant(loaded.model, loaded.task, Pool.of(loaded.held_out), seed)


def learned_without(
    loaded: Loaded, settings: FiniteSettings, positions: NDArray[np.int64]
) -> Perturbation:
    """Return the model that learned all rows but some, and all trusted samples."""
    splits = [samples for samples in (loaded.train, loaded.held_out) if samples is not None]
    folds = [np.ones(len(samples), dtype=np.int64) for samples in splits]
    folds[0][positions] = 0
    return _Round(loaded, [*map(Pool.of, splits)], folds, settings).learned(0, USUAL)


@dataclass(frozen=True)
class _Round:
    """One choice of folds, of the rows and of the trusted samples."""

    loaded: Loaded
    pools: Sequence[Pool]
    folds: Sequence[NDArray[np.int64]]
    settings: FiniteSettings

    def best_length(self) -> tuple[Length, Perturbation]:
        """Return the length after which the first fold's left out samples are likeliest.

        With it, the model that learned without them for so long.
        """
        model, task = self.loaded.model, self.loaded.task
        left_out = [pool.chosen(own == 0) for pool, own in zip(self.pools, self.folds, strict=True)]
        losses: dict[Length, float] = {}
        best, kept = (0.0, 0), UNPERTURBED
        written = self.loaded.train.kind.written
        for length in OF_ANSWERS if written else LENGTHS:
            learned = self.learned(0, length)
            found = [pool_losses(model.module, model, task, pool, learned) for pool in left_out]
            mean = float(np.concatenate(found).mean())
            losses[length] = mean if math.isfinite(mean) else math.inf
            if losses[length] == min(losses.values()):
                best, kept = length, learned
            elif written:
                # The longer, the dearer: of answers the first that is no better ends it.
                break
        if losses[best] == math.inf:
            raise ModelError(
                "the model no longer returns finite numbers once it has learned again without some "
                "of the rows, so that labels cannot be judged by it"
            )
        return best, kept

    def learned(self, fold: int, length: Length) -> Perturbation:
        """Return the model that learned all but one fold, from fresh or initial weights."""
        model = self.loaded.model
        others = [
            pool.chosen(own != fold) for pool, own in zip(self.pools, self.folds, strict=True)
        ]
        steps = _steps_of(length, sum(map(len, others)))
        seed = FOLDS * self.settings.seed + fold
        settings = replace(
            self.settings,
            steps=steps,
            learning_rate=LEARNING_RATE,
            schedule="one cycle",
            average=max(0.0, 1 - 10 / steps),
            seed=seed,
        )
        return finite_mirror(
            model.module,
            self.loaded.learning_task or self.loaded.task,
            endless_batches(model, others, BATCH_SIZE, seed),
            settings,
            shrunk(model.module, UNPERTURBED, 0.0, settings.parameters, seed, model.initial),
            shown=False,
        )

"""The scoring stage: every row under the model itself and under each perturbed model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from dataaudit.datasets.samples import Samples
from dataaudit.inputs import Loaded
from dataaudit.mirror.relearn import Mirror
from dataaudit.mirror.stored import to_bytes
from dataaudit.models.estimator import Estimator
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring.blocks import ScoreBlock, ScoreBlocks
from dataaudit.scoring.engine import Engine

ITSELF, FAMILIAR, RELEARNED = slice(0, 1), slice(1, 2), slice(2, None)
"""The models in score blocks: the trained one, and those that the mirror made of it. Those that
learned again stand there twice where they see images flipped, too."""


@dataclass(frozen=True)
class Scores:
    """Score blocks on disk, of each split that was given."""

    train: ScoreBlocks
    held_out: ScoreBlocks | None
    suspects: ScoreBlocks | None


def score(loaded: Loaded, mirror: Mirror, engine: Engine, steps: Steps) -> Scores:
    """Run the forward passes of all blocks that are not finished yet, and store them.

    Parameters
    ----------
    loaded : Loaded
    mirror : Mirror
        What `steps` were made from, besides the audit's inputs.
    engine : Engine
    steps : Steps
    """
    perturbations = [mirror.familiar, *mirror.relearned] if mirror.relearned else []
    if mirror.flip:
        perturbations += [replace(relearned, flip=True) for relearned in mirror.relearned]
    made_from = hashlib.sha256(to_bytes(mirror)).hexdigest()

    def blocks_of(samples: Samples) -> ScoreBlocks:
        # Of targets, the network that learned again is compared with itself before.
        itself = loaded.train.kind.one_class or samples.role == "suspects"
        estimator = loaded.model.estimator if itself else None
        blocks = ScoreBlocks(steps.within(samples.role, made_from))
        finished = blocks.finished()
        into = blocks if estimator is None else None
        scored = engine.score(loaded.model, loaded.task, samples, perturbations, finished, into)
        for block in scored:
            if estimator is not None:
                block = _in_its_own_words(estimator, samples, block)
            blocks.write(block)
        return blocks

    return Scores(
        blocks_of(loaded.train),
        None if loaded.held_out is None else blocks_of(loaded.held_out),
        None if loaded.suspects is None else blocks_of(loaded.suspects),
    )


def _in_its_own_words(estimator: Estimator, samples: Samples, block: ScoreBlock) -> ScoreBlock:
    """Put an estimator's own predictions in the place of those of the network that stands in."""
    rows = samples.take(range(block.start, block.start + len(block)))
    predictions = block.predictions.copy()
    predictions[:, 0] = estimator.predictions(rows.frame)
    return replace(block, predictions=predictions)

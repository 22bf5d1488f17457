"""The scoring stage: every row under the model itself and under each perturbed model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dataaudit.engines.local import LocalEngine
from dataaudit.loading import Loaded
from dataaudit.mirror.relearn import Mirror
from dataaudit.scores import ScoreBlocks

ITSELF, FAMILIAR, RELEARNED = slice(0, 1), slice(1, 2), slice(2, None)
"""The models in score blocks: the trained one, and those that the mirror made of it. Those that
learned again stand there twice where they see images flipped, too."""


@dataclass(frozen=True)
class Scores:
    """Score blocks on disk, of each split that was given."""

    train: ScoreBlocks
    held_out: ScoreBlocks | None
    suspects: ScoreBlocks | None


def score(loaded: Loaded, mirror: Mirror, engine: LocalEngine, work: Path) -> Scores:
    """Run the forward passes and leave their results under `work`, block by block."""
    perturbations = [mirror.familiar, *mirror.relearned]
    if mirror.flip:
        perturbations += [replace(relearned, flip=True) for relearned in mirror.relearned]
    found: dict[str, ScoreBlocks] = {}
    for samples in (loaded.train, loaded.held_out, loaded.suspects):
        if samples is None:
            continue
        blocks = ScoreBlocks(work / samples.role)
        for block in engine.score(loaded.model, loaded.task, samples, perturbations):
            blocks.write(block)
        found[samples.role] = blocks
    return Scores(found["train"], found.get("held_out"), found.get("suspects"))

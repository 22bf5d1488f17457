"""The probing stage: what the model saw before it was trained, kept on disk, and probes on it."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from dataaudit.datasets.samples import Samples
from dataaudit.inputs import Loaded
from dataaudit.mirror.probes import Judged, probe
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring.before_training import BeforeTraining
from dataaudit.scoring.blocks import Floats, ScoreBlocks
from dataaudit.scoring.engine import Engine
from dataaudit.stages.scoring import ITSELF


class _Features:
    """A task whose predictions are what the model returns."""

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.new_zeros(len(outputs))

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs


def probed(loaded: Loaded, engine: Engine, steps: Steps, seed: int) -> Judged | None:
    """Return what probes say of rows and trusted samples, None where there is nothing to probe.

    One forward pass of the model as it was before training; what it gives is kept in `steps`.

    Parameters
    ----------
    loaded : Loaded
    engine : Engine
    steps : Steps
    seed : int
        Of the folds.
    """
    initial, trusted = loaded.model.initial, loaded.held_out
    if initial is None or trusted is None or not loaded.train.kind.probed:
        return None
    before = replace(loaded.model, module=BeforeTraining(loaded.model.module, initial))
    made_from = initial.sha256()

    def features(samples: Samples) -> Floats:
        blocks = ScoreBlocks(steps.within(f"before training, {samples.role}", made_from))
        finished = blocks.finished()
        for block in engine.score(before, _Features(), samples, [], finished):
            blocks.write(block)
        return blocks.predictions(ITSELF)

    return probe(
        features(loaded.train),
        loaded.train.labels,
        features(trusted),
        trusted.labels,
        len(loaded.train.classes),
        steps.folder,
        seed,
    )

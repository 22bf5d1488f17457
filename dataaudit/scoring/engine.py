"""What an engine is: one method."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from dataaudit.datasets.samples import Samples
from dataaudit.models.trained import TrainedModel
from dataaudit.scoring.blocks import ScoreBlock, ScoreBlocks
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.tasks import Task


class Engine(Protocol):
    """Scores rows, wherever its processes are."""

    def score(
        self,
        model: TrainedModel,
        task: Task,
        samples: Samples,
        perturbations: Sequence[Perturbation],
        finished: Collection[int] = (),
        into: ScoreBlocks | None = None,
    ) -> Iterator[ScoreBlock]:
        """Score all rows under the model and each perturbed model.

        Parameters
        ----------
        model : TrainedModel
        task : Task
        samples : Samples
        perturbations : sequence of Perturbation
            Without the model itself, which always comes first in `ScoreBlock.losses`.
        finished : collection of int
            Start positions of blocks to leave out.
        into : ScoreBlocks or None
            Where the process that scored a block may write it; what it wrote is not yielded.

        Yields
        ------
        ScoreBlock
            In any order; where blocks start depends on nothing but rows and batch size.

        Raises
        ------
        DataError, ModelError
            Inputs or outputs are not finite, or do not fit.
        """
        ...

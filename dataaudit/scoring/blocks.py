"""Score blocks: what the forward passes leave behind, one file per block of rows.

Blocks are stored as steps whose content is safetensors (typed, no code in it). What a later stage
needs for every row, it reads block by block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from dataaudit.errors import RunDirectoryError
from dataaudit.run_directory.steps import Steps
from dataaudit.storage.on_disk import large_arrays_in, one_array

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class ScoreBlock:
    """Scores of consecutive rows.

    Attributes
    ----------
    start : int
        Position of the first row.
    losses : float32 `[rows, models]`
        Loss of each row under each model, nats; the first is the model itself, the others are
        the perturbed ones in the order given.
    predictions : float32 `[rows, models, width]`
        Of the same models; what the task makes of their outputs: for classes, probabilities.
    features : float16 `[rows, width]`
        Inputs of the model's last linear layer; width 0 where it has none.
    """

    start: int
    losses: Floats
    predictions: Floats
    features: Floats

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.losses)


class ScoreBlocks:
    """The score blocks of one split, on disk."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def write(self, block: ScoreBlock) -> None:
        """Store a finished block."""
        arrays = {
            "losses": block.losses,
            "predictions": block.predictions,
            "features": block.features,
        }
        contiguous = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
        self._steps.write(f"{block.start:012d}", save(contiguous))

    @property
    def folder(self) -> Path:
        """Where the blocks lie."""
        return self._steps.folder

    def holds(self, start: int) -> bool:
        """Tell whether there is a block that starts at a position, without reading it."""
        return self._steps.holds(f"{start:012d}")

    def finished(self) -> set[int]:
        """Return the start positions of the blocks that are there and whole."""
        return {int(name) for name in self._steps.names() if self._steps.read(name) is not None}

    def __iter__(self) -> Iterator[ScoreBlock]:
        """Yield the blocks in row order, one in memory at a time.

        Raises
        ------
        RunDirectoryError
            A block was damaged after it was written.
        """
        for name in self._steps.names():
            content = self._steps.read(name)
            if content is None:
                raise RunDirectoryError(
                    f"{self._steps.folder}: the block of rows from {int(name)} on was damaged "
                    "while the audit ran; check the disk"
                )
            yield ScoreBlock(start=int(name), **load(content))

    def predictions(self, models: slice) -> Floats:
        """Return `[rows, width]` of all rows, the mean over some models; 0 is the trained one.

        Many rows are read-only, and lie on disk: memory that they take can be given back.
        """
        with large_arrays_in(self._steps.folder):
            return one_array(block.predictions[:, models].mean(axis=1) for block in self)

    def features(self) -> Floats:
        """Return `[rows, width]` of all rows."""
        return np.concatenate([block.features for block in self])

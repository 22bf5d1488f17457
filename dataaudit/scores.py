"""Score blocks: what the forward passes leave behind, one file per block of rows.

Blocks are safetensors files (typed, no code in them), written by the store, which renames a
finished block into place. What a later stage needs for every row, it reads block by block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from dataaudit.store import write_atomically

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
    probabilities : float32 `[rows, models, classes]`
        Of the same models.
    features : float16 `[rows, width]`
        Inputs of the model's last linear layer; width 0 where it has none.
    """

    start: int
    losses: Floats
    probabilities: Floats
    features: Floats

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.losses)


class ScoreBlocks:
    """The score blocks of one split, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, block: ScoreBlock) -> None:
        """Write a block and rename it into place."""
        arrays = {
            "losses": block.losses,
            "probabilities": block.probabilities,
            "features": block.features,
        }
        contiguous = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
        target = self._folder / f"{block.start:012d}.safetensors"
        write_atomically(target, lambda path: save_file(contiguous, path))

    def finished(self) -> set[int]:
        """Return the start positions of the blocks that are there."""
        return {int(path.stem) for path in self._folder.glob("*.safetensors")}

    def __iter__(self) -> Iterator[ScoreBlock]:
        """Yield the blocks in row order, one in memory at a time."""
        for path in sorted(self._folder.glob("*.safetensors")):
            yield ScoreBlock(start=int(path.stem), **load_file(path))

    def probabilities(self, models: slice) -> Floats:
        """Return `[rows, classes]` of all rows, the mean over some models; 0 is the trained one."""
        return np.concatenate([block.probabilities[:, models].mean(axis=1) for block in self])

    def features(self) -> Floats:
        """Return `[rows, width]` of all rows."""
        return np.concatenate([block.features for block in self])

"""An audit seen from the last layer: what enters it is computed once for a row, and kept on disk.

`mirror: {kind: head}` learns again with the last linear layer alone. To that layer a row is the
vector that enters it; everything before stays as it was trained. So the layer becomes the model,
the vectors become the rows, and the rest of the mirror and of the scoring does not change.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dataaudit.datasets.memory import INPUT, ArrayPair, Pairs
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, ModelError
from dataaudit.inputs import Loaded
from dataaudit.models.numerics import EXACT, Numerics
from dataaudit.models.parameters import moving_parameters
from dataaudit.models.tail import Tail, find_tail
from dataaudit.models.trained import TrainedModel
from dataaudit.progress import track
from dataaudit.scoring.prefetch import made_ahead


def seen_from_last_layer(
    loaded: Loaded, folder: Path, batch_size: int, numerics: Numerics = EXACT
) -> Loaded:
    """Return the audit of the last linear layer on the vectors that enter it.

    Parameters
    ----------
    loaded : Loaded
    folder : Path
        For the vectors, one file for each split; created where it is missing.
    batch_size : int
    numerics : Numerics
        Of the one pass over all rows.

    Raises
    ------
    ModelError, ConfigError
        The model does not end in a linear layer that may be trained, or that layer takes more
        than one vector for a row.
    """
    model = loaded.model
    tail = find_tail(model.module, model.inputs(loaded.train.take([0]), loaded.train))
    # Before any pass over the rows: whether anything in it may move.
    moving_parameters(tail.layers, "all")
    folder.mkdir(parents=True, exist_ok=True)

    def seen(samples: Samples | None) -> Samples | None:
        if samples is None:
            return None
        at_once = samples.rows_at_once(batch_size)
        return _stored(model, tail, samples, folder, at_once, numerics)

    train = seen(loaded.train)
    assert train is not None
    last = TrainedModel(tail.layers, stacked, f"{tail.name} of {model.description}")
    return replace(
        loaded,
        model=last,
        train=train,
        held_out=seen(loaded.held_out),
        suspects=seen(loaded.suspects),
    )


@torch.inference_mode()
def learns_alone(loaded: Loaded) -> bool:
    """Tell whether the last layer can learn alone, as `seen_from_last_layer` lets it."""
    few = loaded.train.take(range(min(2, len(loaded.train))))
    try:
        inputs = loaded.model.inputs(few, loaded.train)
        tail = find_tail(loaded.model.module, inputs)
        moving_parameters(tail.layers, "all")
        return tail.run(inputs)[0].ndim == 2
    except (ModelError, ConfigError):
        return False


def stacked(frame: pd.DataFrame) -> Tensor:
    """Return the vectors of some rows, `[rows, width]`: the preprocessing of the last layer."""
    return torch.tensor(np.stack(frame[INPUT].tolist()))


@torch.inference_mode()
def _stored(
    model: TrainedModel,
    tail: Tail,
    samples: Samples,
    folder: Path,
    batch_size: int,
    numerics: Numerics,
) -> Samples:
    made = made_ahead(lambda batch: model.inputs(batch, samples), samples.batches(batch_size))
    path = folder / f"{samples.role}.npy"
    vectors: np.ndarray | None = None
    total = -(-len(samples) // batch_size)
    for batch, inputs in track(made, f"features of {samples.role}", total):
        features = tail.run(inputs, numerics)[0].cpu().numpy()
        if features.ndim != 2 or not np.isfinite(features).all():
            raise ModelError(
                f"mirror.kind: head: {samples.role} ({samples.source.description}), rows from "
                f"{batch.positions[0]} on: {tail.name} takes an input of shape {features.shape}, "
                "or one that is not finite; expected one finite vector a row"
            )
        if vectors is None:
            shape = (len(samples), features.shape[1])
            vectors = np.lib.format.open_memmap(path, "w+", features.dtype, shape)
        vectors[batch.positions] = features
    assert vectors is not None
    source = Pairs(samples.source.description, ArrayPair(np.load(path, "r"), samples.labels))
    return replace(samples, source=source, modality="tensor", content_column=INPUT)

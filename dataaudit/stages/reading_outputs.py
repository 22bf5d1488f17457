"""What a model's outputs are: determined from some of them and the labels of their rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dataaudit.datasets.frames import spread
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ModelError
from dataaudit.models.outputs import choose, flattened, named_outputs, reading, share_right
from dataaudit.models.trained import TrainedModel, called, forward

ROWS_PER_FORWARD = 64
ROWS_READ = 512
"""Trusted samples, or training rows where there are none, that the reading is determined from."""


def with_outputs_read(model: TrainedModel, train: Samples, *, classes_known: bool) -> TrainedModel:
    """Return the model with a module that returns the tensor that is its outputs.

    Parameters
    ----------
    model : TrainedModel
    train : Samples
        With usable labels.
    classes_known : bool
        Whether the number of classes is known, and not only the largest label.

    Raises
    ------
    ModelError
        It returns several tensors, and which one is meant cannot be told.
    """
    positions = spread(len(train), train.rows_at_once(ROWS_PER_FORWARD))
    batch = train.take(positions)
    with torch.inference_mode():
        result = called(model.module, model.inputs(batch, train))
    outputs = named_outputs(result, len(batch))
    if not outputs:
        # Said where it is asked for its outputs.
        return model
    exact = any(_fits(tuple(flattened(value).shape), train) for value in outputs.values())
    # Labels may lack the last classes; then a shape alone proves nothing.
    wide = not exact and not classes_known and train.kind.one_class
    key, said = choose(
        outputs,
        lambda shape: _fits(shape, train, wide=wide),
        lambda values: _skill(values, train, positions),
        exactly=not wide,
    )
    flatten = not (train.kind.per_word or train.kind.per_pixel) and outputs[key].ndim > 2
    module = reading(model.module, key, flatten and flattened(outputs[key]).ndim == 2)
    note = f"{said[:1].upper()}{said[1:]}." if said else ""
    return replace(model, module=module, note=" ".join(filter(None, [model.note, note])))


def labelled_outputs(model: TrainedModel, samples: Samples) -> tuple[Tensor, Tensor]:
    """Return outputs of evenly spread rows, and their labels, on the model's device."""
    most = samples.rows_at_once(ROWS_PER_FORWARD if samples.kind.per_word else ROWS_READ)
    positions = spread(len(samples), most)
    step = samples.rows_at_once(ROWS_PER_FORWARD)
    parts = [
        outputs_of(model, samples, positions[start : start + step])
        for start in range(0, len(positions), step)
    ]
    outputs = torch.cat(parts)
    return outputs, torch.as_tensor(samples.labels[positions]).to(outputs.device)


def outputs_of(model: TrainedModel, samples: Samples, positions: NDArray[np.int64]) -> Tensor:
    """Return the outputs of some rows.

    Raises
    ------
    ModelError
        Their first dimension is not the rows.
    """
    sample = samples.take(positions)
    inputs = model.inputs(sample, samples)
    with torch.inference_mode():
        outputs = forward(model.module, inputs)
    if outputs.ndim == 0 or len(outputs) != len(sample):
        raise ModelError(
            f"the model returned outputs of shape {tuple(outputs.shape)} for {len(sample)} rows; "
            "the first dimension must be the rows"
        )
    return outputs


def _fits(shape: tuple[int, ...], train: Samples, *, wide: bool = False) -> bool:
    """Tell whether outputs of the task can have a shape; `wide`: also of more classes."""
    classes = len(train.classes)
    kind = train.kind
    if kind.per_pixel:
        return len(shape) == 4 and (shape[1] == classes or (classes == 2 and shape[1] == 1))
    if kind.per_word:
        return len(shape) == 3 and shape[2] == classes
    single = len(shape) == 1 or shape[1:] == (1,)
    if not kind.has_classes:
        return single
    if kind.one_class and classes == 2 and single:
        return True
    return len(shape) == 2 and (shape[1] >= classes if wide else shape[1] == classes)


def _skill(values: Tensor, train: Samples, positions: NDArray[np.int64]) -> float:
    if train.kind.per_pixel:
        masks = torch.as_tensor(train.labels[positions]).to(values.device)
        if values.shape[1] == 1:
            values = torch.cat([torch.zeros_like(values), values], dim=1)
        masks = functional.interpolate(masks[:, None].double(), tuple(values.shape[2:]))[:, 0]
        judged = masks >= 0
        return share_right(values.permute(0, 2, 3, 1)[judged], masks[judged].long())
    if not train.kind.one_class:
        return 0.0
    labels: Any = torch.as_tensor(train.labels[positions]).to(values.device)
    if values.ndim == 1 or values.shape[1] == 1:
        column = values.reshape(-1)
        middle = 0.5 if bool(((column >= 0) & (column <= 1)).all()) else 0.0
        values = torch.stack([torch.full_like(column, middle), column], dim=1)
    return share_right(values, labels)

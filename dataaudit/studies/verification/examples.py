"""Rows and queries as tensors, held in memory: what is trained on again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError
from dataaudit.mirror.finite import Part
from dataaudit.models.text_inputs import TextInputs
from dataaudit.models.trained import Inputs, TrainedModel, map_tensors, named_tensors
from dataaudit.scoring.passes import Passes
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.tasks import Task

ROWS_PER_BATCH = 512


@dataclass(frozen=True)
class Examples:
    """Inputs and labels of some samples.

    Attributes
    ----------
    inputs : Inputs
        First dimension = samples.
    labels : Tensor `[n]`
    """

    inputs: Inputs
    labels: Tensor

    @classmethod
    def read(cls, model: TrainedModel, samples: Samples, positions: NDArray[np.int64]) -> Examples:
        """Read and preprocess the samples at `positions`, in that order."""
        parts = []
        for start in range(0, len(positions), ROWS_PER_BATCH):
            batch = samples.take(positions[start : start + ROWS_PER_BATCH])
            labels = torch.as_tensor(batch.labels, device=model.device)
            parts.append(cls(model.inputs(batch, samples), labels))
        return joined(parts)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    def part(self, positions: NDArray[np.int64] | Tensor) -> Part:
        """Return the inputs and labels at `positions`."""
        chosen = torch.as_tensor(positions, device=self.labels.device)
        return map_tensors(lambda value: value[chosen], self.inputs), self.labels[chosen]


def of_one_length(
    model: TrainedModel, chosen: Sequence[tuple[Samples, NDArray[np.int64]]]
) -> TrainedModel:
    """Return the model as one that pads all chosen texts to the longest of them.

    Else each batch is padded to its own longest, and batches could not be held together.

    Parameters
    ----------
    model : TrainedModel
        Returned as it is where it is not given texts by a tokenizer.
    chosen : sequence of samples and positions
    """
    texts = model.preprocess
    if not isinstance(texts, TextInputs) or texts.to_full_length:
        return model
    longest = max(
        int(texts.lengths(samples.take(positions[start : start + ROWS_PER_BATCH]).frame).max())
        for samples, positions in chosen
        for start in range(0, len(positions), ROWS_PER_BATCH)
    )
    length = min(longest, texts.max_length)
    return replace(model, preprocess=replace(texts, max_length=length, to_full_length=True))


def joined(parts: Sequence[Examples]) -> Examples:
    """Return all parts as one, in their order.

    Raises
    ------
    DataError
        Their inputs have different shapes.
    """
    tensors = [dict(named_tensors(part.inputs)) for part in parts]
    for name, expected in tensors[0].items():
        for each in tensors[1:]:
            found = each[name].shape[1:] if name in each else None
            if found != expected.shape[1:]:
                raise DataError(
                    f"preprocess returned {name} of shape {list(expected.shape[1:])} for some rows "
                    f"and {None if found is None else list(found)} for others; expected one shape, "
                    "because rows and queries are held together"
                )
    together = {name: torch.cat([each[name] for each in tensors]) for name in tensors[0]}
    first = parts[0].inputs
    inputs: Inputs = together
    if not isinstance(first, dict):
        values = tuple(together.values())
        inputs = values if isinstance(first, tuple) else values[0]
    return Examples(inputs, torch.cat([part.labels for part in parts]))


def losses(
    module: nn.Module, task: Task, examples: Examples, perturbation: Perturbation = UNPERTURBED
) -> NDArray[np.float64]:
    """Return the loss of each example under the perturbed module, `[n]`, nats."""
    passes, found = Passes(module), []
    for start in range(0, len(examples), ROWS_PER_BATCH):
        stop = min(start + ROWS_PER_BATCH, len(examples))
        inputs, labels = examples.part(torch.arange(start, stop))
        found.append(passes.losses(task, inputs, labels, [perturbation])[:, 0].cpu().numpy())
    return np.concatenate(found)

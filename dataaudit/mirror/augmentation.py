"""Augmentation of image queries: flips and shifts, where they leave the label as it is."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from dataaudit.mirror.finite import Part
from dataaudit.models.trained import Inputs, TrainedModel, forward
from dataaudit.tasks import AuditTask

SHIFT_SHARE = 1 / 8
"""Largest shift, as a share of the image's side."""
HARMLESS = 0.9
"""A change is harmless when accuracy keeps this share under it."""


def are_images(inputs: Inputs) -> bool:
    """Tell whether the inputs are one tensor `[rows, channels, height, width]` of images."""
    return (
        isinstance(inputs, Tensor)
        and inputs.ndim == 4
        and inputs.is_floating_point()
        and inputs.shape[1] <= 4
        and min(inputs.shape[2:]) >= 8
    )


def flip_is_harmless(model: TrainedModel, task: AuditTask, held_out: Part) -> bool:
    """Tell whether the model, on held-out images, is as often right when they are mirrored.

    It is for photographs; it is not for digits or text, whose labels a flip changes.
    """
    inputs, labels = held_out
    assert isinstance(inputs, Tensor)

    def accuracy(images: Tensor) -> float:
        with torch.inference_mode():
            predictions = task.predictions(forward(model.module, images))
        return float(task.metric(predictions.cpu().numpy(), labels.cpu().numpy()).mean())

    return accuracy(inputs.flip(3)) >= HARMLESS * accuracy(inputs)


def augmented(batches: Iterator[list[Part]], flip: bool, seed: int) -> Iterator[list[Part]]:
    """Shift (and flip) each image of each batch at random; other inputs pass as they are."""
    generator = torch.Generator().manual_seed(seed)
    for parts in batches:
        yield [_with_labels(inputs, labels, flip, generator) for inputs, labels in parts]


def _with_labels(
    inputs: Inputs, labels: Tensor, flip: bool, generator: torch.Generator
) -> tuple[Inputs, Tensor]:
    """Return changed images; labels of their pixels are changed alike, or else nothing is."""
    if labels.ndim < 3:
        return _changed(inputs, flip, generator), labels
    if not (isinstance(inputs, Tensor) and labels.shape[1:] == inputs.shape[2:]):
        return inputs, labels
    both = _shifted(torch.cat([inputs, labels[:, None].to(inputs.dtype)], dim=1), generator)
    return both[:, :-1], both[:, -1].to(labels.dtype)


def _changed(inputs: Inputs, flip: bool, generator: torch.Generator) -> Inputs:
    if not (isinstance(inputs, Tensor) and are_images(inputs)):
        return inputs
    shifted = _shifted(inputs, generator)
    if not flip:
        return shifted
    chosen = torch.rand(len(inputs), generator=generator) < 0.5
    return torch.where(chosen.to(inputs.device)[:, None, None, None], shifted.flip(3), shifted)


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    padding = max(1, round(min(height, width) * SHIFT_SHARE))
    padded = functional.pad(images, (padding,) * 4, mode="reflect")
    down, right = torch.randint(0, 2 * padding + 1, (2, count), generator=generator)
    lines = (down[:, None] + torch.arange(height)).to(images.device)
    columns = (right[:, None] + torch.arange(width)).to(images.device)
    picture = torch.arange(count, device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[picture, lines[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous()

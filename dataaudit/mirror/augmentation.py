"""Augmentation of image queries: flips and shifts, where they leave the label as it is."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from dataaudit.labels.boxes import BOX, PADDING
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
    if isinstance(inputs, dict) and inputs.keys() == {"images", "sizes", "labels"}:
        return _with_boxes_shifted(inputs, generator)
    if not (isinstance(inputs, Tensor) and are_images(inputs)):
        return inputs
    shifted = _shifted(inputs, generator)
    if not flip:
        return shifted
    chosen = torch.rand(len(inputs), generator=generator) < 0.5
    return torch.where(chosen.to(inputs.device)[:, None, None, None], shifted.flip(3), shifted)


def _with_boxes_shifted(inputs: dict[str, Tensor], generator: torch.Generator) -> Inputs:
    """Shift pictures of one size with their boxes; what is cut off by more than half is no box."""
    images, sizes, labels = inputs["images"], inputs["sizes"], inputs["labels"]
    height, width = images.shape[2:]
    if min(height, width) < 8 or bool((sizes != sizes.new_tensor([height, width])).any()):
        return inputs
    padding, offsets = _offsets(images, generator)
    boxes = labels.reshape(len(labels), -1, BOX).clone()
    moved = (padding - offsets.flip(0)).T.to(labels)[:, None].repeat(1, 1, 2)
    whole = (boxes[..., 3:5] - boxes[..., 1:3]).prod(dim=2)
    limits = labels.new_tensor([width, height, width, height])
    boxes[..., 1:5] = torch.minimum((boxes[..., 1:5] + moved).clamp_min(0), limits)
    left = (boxes[..., 3:5] - boxes[..., 1:3]).clamp_min(0).prod(dim=2)
    boxes[left < whole / 2] = PADDING
    shifted = torch.where(labels.reshape(boxes.shape)[..., :1] < 0, PADDING, boxes)
    return {
        "images": _cropped(images, padding, offsets),
        "sizes": sizes,
        "labels": shifted.reshape(labels.shape),
    }


def _offsets(images: Tensor, generator: torch.Generator) -> tuple[int, Tensor]:
    """Return the padding on each side, and how far down and right in it each image begins."""
    padding = max(1, round(min(images.shape[2:]) * SHIFT_SHARE))
    return padding, torch.randint(0, 2 * padding + 1, (2, len(images)), generator=generator)


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    return _cropped(images, *_offsets(images, generator))


def _cropped(images: Tensor, padding: int, offsets: Tensor) -> Tensor:
    count, _, height, width = images.shape
    padded = functional.pad(images, (padding,) * 4, mode="reflect")
    down, right = offsets
    lines = (down[:, None] + torch.arange(height)).to(images.device)
    columns = (right[:, None] + torch.arange(width)).to(images.device)
    picture = torch.arange(count, device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[picture, lines[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous()

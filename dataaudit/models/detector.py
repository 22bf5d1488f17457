"""Detectors as torchvision has them, as modules that return one tensor.

In training mode `model(images, targets)` returns a mapping of losses, in eval mode `model(images)`
a list of `{"boxes", "labels", "scores"}`; images are a list of `[channels, height, width]`, labels
count from 1 on. The audit needs one tensor with a line for each picture: its loss under the boxes
that it was given, then what the model detects in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dataaudit.errors import ModelError
from dataaudit.labels.boxes import BOX, PADDING
from dataaudit.labels.values import short
from dataaudit.models.outputs import Around

MORE_THAN_GIVEN = 20
"""Detections that are kept beyond as many as the fullest picture has boxes, the surest first."""
EXPECTED = (
    "expected a detector as torchvision has them: in training mode model(images, targets) returns "
    "a mapping of losses, in eval mode model(images) a list of {boxes, labels, scores}"
)


class Detector(Around):
    """Returns `[rows, 1 + detections * BOX]`: loss in nats, then class index, corners, and score.

    Each loss is the sum of the losses of that picture alone, batch statistics as they are kept and
    whatever the model draws at random drawn alike. While gradients are taken the pictures of a
    batch are learned together, as they were in training: then there is the loss alone, `[rows, 1]`,
    their mean in each line.
    """

    def forward(self, images: Tensor, sizes: Tensor, labels: Tensor) -> Tensor:
        """Return losses and detections.

        Parameters
        ----------
        images : `[rows, channels, height, width]`
            Padded below and to the right.
        sizes : int64 `[rows, 2]`
            Height and width of each.
        labels : `[rows, boxes * BOX]`
            As `labels.boxes` has them.
        """
        pictures = [
            image[:, :height, :width]
            for image, (height, width) in zip(images, sizes.tolist(), strict=True)
        ]
        targets = [_target(label) for label in labels]
        if torch.is_grad_enabled():
            return self._loss(pictures, targets).expand(len(pictures)).unsqueeze(1)
        alone = [self._alone(*pair) for pair in zip(pictures, targets, strict=True)]
        most = labels.shape[1] // BOX + MORE_THAN_GIVEN
        found = [_detections(found, most, images) for found in self._asked(pictures)]
        if len(found) != len(pictures):
            raise ModelError(f"the model returned {len(found)} results for {len(pictures)} images")
        return torch.cat([torch.stack(alone)[:, None], torch.stack(found)], dim=1)

    def _alone(self, picture: Tensor, target: dict[str, Tensor]) -> Tensor:
        # Detectors draw the places that they compare: the same ones under every model.
        generators = [torch.default_generator]
        if picture.device.type == "cuda":
            generators.append(torch.cuda.default_generators[picture.get_device()])
        # Not torch.manual_seed, which notes for every device who called it, at ten times the cost.
        states = [generator.get_state() for generator in generators]
        try:
            for generator in generators:
                generator.manual_seed(0)
            return self._loss([picture], [target])
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)

    def _loss(self, pictures: Sequence[Tensor], targets: Sequence[dict[str, Tensor]]) -> Tensor:
        with _giving_losses(self.inner):
            losses = self._called(list(pictures), list(targets))
        if not isinstance(losses, Mapping) or not losses:
            raise ModelError(f"in training mode the model returned {_named(losses)}; {EXPECTED}")
        for name, value in losses.items():
            if not isinstance(value, Tensor) or not value.is_floating_point():
                raise ModelError(
                    f"in training mode the model returned {_named(value)} as {short(name)}, not a "
                    f"tensor of floating numbers; {EXPECTED}"
                )
        return torch.stack([value.float().sum() for value in losses.values()]).sum()

    def _asked(self, pictures: Sequence[Tensor]) -> Sequence[Mapping[str, Tensor]]:
        found = self._called(list(pictures))
        keys = {"boxes", "labels", "scores"}
        right = isinstance(found, list | tuple) and all(
            isinstance(item, Mapping) and keys <= item.keys() for item in found
        )
        if not right:
            raise ModelError(f"in eval mode the model returned {_named(found)}; {EXPECTED}")
        for item in found:
            _refuse_misfits(item)
        return list(found)

    def _called(self, *arguments: Any) -> Any:
        try:
            return self.inner(*arguments)
        except (AttributeError, KeyError, TypeError, AssertionError) as error:
            # What a module of another kind makes of a list of images.
            raise ModelError(
                f"the model failed on a list of images: {type(error).__name__}: {error}; {EXPECTED}"
            ) from error


@contextmanager
def _giving_losses(module: nn.Module) -> Iterator[None]:
    """Put a detector in training mode, but for batch norm and dropout, which stay as they are."""
    parts = [
        part
        for part in module.modules()
        if not isinstance(part, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd)
    ]
    before = [part.training for part in parts]
    for part in parts:
        part.training = True
    try:
        yield
    finally:
        for part, training in zip(parts, before, strict=True):
            part.training = training


def _target(label: Tensor) -> dict[str, Tensor]:
    """Return one picture's judged boxes as torchvision takes them; crowds are not learned."""
    boxes = label.reshape(-1, BOX)
    boxes = boxes[(boxes[:, 0] >= 0) & (boxes[:, 5] == 0)]
    return {"boxes": boxes[:, 1:5].clone(), "labels": boxes[:, 0].long() + 1}


def _detections(found: Mapping[str, Tensor], most: int, like: Tensor) -> Tensor:
    """Return one picture's detections, the surest first, `[most * BOX]`, padded."""
    scores = found["scores"].flatten()
    chosen = scores.argsort(descending=True, stable=True)[:most]
    parts = [found["labels"].flatten()[chosen, None] - 1, found["boxes"].reshape(-1, 4)[chosen]]
    result = like.new_full((most, BOX), PADDING)
    result[: len(chosen)] = torch.cat([*parts, scores[chosen, None]], dim=1).to(result.dtype)
    return result.flatten()


def _refuse_misfits(found: Mapping[str, Any]) -> None:
    """Refuse detections of one picture that are no tensors, or not as many as each other."""
    for name, numbers in (("scores", 1), ("labels", 1), ("boxes", 4)):
        value = found[name]
        if not isinstance(value, Tensor) or value.is_complex():
            raise ModelError(
                f"in eval mode the model returned {_named(value)} as {name!r}, not a tensor of "
                f"real numbers; {EXPECTED}"
            )
        count = found["scores"].numel()
        if value.numel() != numbers * count:
            raise ModelError(
                f"in eval mode the model returned {name!r} of shape {tuple(value.shape)} for "
                f"{count} scores; {EXPECTED}"
            )


def _named(result: Any) -> str:
    return type(result).__name__

"""Semantic segmentation: one of several classes for each pixel of a picture.

Probabilities of all pixels are never held for more rows than run at a time: what a score block
holds of a row is a few numbers, which need the row's mask (`said_of`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from dataaudit.errors import ModelError
from dataaudit.labels.tags import NOT_JUDGED
from dataaudit.tasks.classification import Classification
from dataaudit.tasks.task import Choices, Predictions

WINDOWS = (1 / 16, 1 / 8, 1 / 4)
"""Sides of the squares that doubts are averaged over, as shares of the picture's shorter side: a
border that is drawn a little differently is thin, a wrong region is as wide as it is high."""
MOST_DOUBT = 7.0
"""Log odds of a single pixel count up to this, nats."""
PLACES_A_SIDE = 4
"""Pixels of each picture, on a grid, whose answers are kept."""
LOSS, RIGHT, DOUBTS = 0, 1, 2
ANSWERS = DOUBTS + len(WINDOWS)
SMALLEST_REGION = 1 / 500
LARGEST_REGION = 0.6
"""Shares of the picture: other regions are not made wrong."""


@dataclass(frozen=True)
class Segmentation:
    """One of C classes for each pixel; labels are `[rows, height, width]`.

    Attributes
    ----------
    pixel : Classification
        What the model's outputs for one pixel mean. Outputs are `[rows, C, h, w]`; where h and w
        are not those of the mask, they are brought to them (bilinear), as the models' own code
        does.
    """

    pixel: Classification

    @classmethod
    def of(cls, outputs: Tensor, classes: int, labels: Tensor | None = None) -> Segmentation:
        """Recognise what a model returns from the outputs of some of its rows.

        Raises
        ------
        ModelError
            The outputs are no floating-point numbers `[rows, classes, height, width]`.
        """
        shape = tuple(outputs.shape)
        one = classes == 2 and shape[1:2] == (1,)
        if outputs.ndim != 4 or (shape[1] != classes and not one):
            raise ModelError(
                f"the model returned outputs of shape {shape}; expected [rows, {classes}, height, "
                f"width], one map for each of the {classes} classes (task segmentation)"
            )
        if labels is None:
            return cls(Classification.of(_by_pixel(outputs), classes))
        masks = _masks_of(labels, shape[2:])
        judged = masks != NOT_JUDGED
        flat = _by_pixel(outputs).reshape(*masks.shape, -1)
        return cls(Classification.of(flat[judged], classes, masks[judged]))

    def log_probabilities(self, outputs: Tensor, size: tuple[int, int]) -> Tensor:
        """Return log-probabilities, `[rows, height, width, C]`, in at least float32.

        Parameters
        ----------
        outputs : `[rows, C, h, w]`
        size : (height, width)
            Of the masks.
        """
        if tuple(outputs.shape[2:]) != size:
            outputs = functional.interpolate(outputs, size, mode="bilinear", align_corners=False)
        flat = self.pixel.log_probabilities(_by_pixel(outputs))
        return flat.reshape(len(outputs), *size, -1)

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of each row's judged pixels, `[rows]`, nats."""
        masks = labels.long()
        logs = self.log_probabilities(outputs, (masks.shape[1], masks.shape[2]))
        return _mean(_losses(logs, masks), masks != NOT_JUDGED)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Refuse: what is held of a row needs its mask."""
        raise NotImplementedError("said_of(outputs, labels) is asked instead")

    def said_of(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return what outputs say of given masks, `[rows, 2 + windows + places]`.

        The mean loss of the judged pixels, nats; the share of them whose likeliest class is the
        given one; the largest mean log odds against the given classes in a square of each of
        `WINDOWS`, nats; and the likeliest class of pixels on a grid.
        """
        masks = labels.long()
        judged = masks != NOT_JUDGED
        logs = self.log_probabilities(outputs, (masks.shape[1], masks.shape[2]))
        losses = _losses(logs, masks)
        best = logs.argmax(dim=3)
        right = _mean((best == masks).to(losses.dtype), judged)
        # log(1 - p) - log(p) of the given class, p = exp(-loss).
        odds = torch.log(-torch.expm1(-losses.clamp_min(1e-6))) + losses
        doubts = [
            pooled(odds.clamp(-MOST_DOUBT, MOST_DOUBT), judged, side).flatten(1).amax(dim=1)
            for side in sides(masks.shape[1], masks.shape[2])
        ]
        places = best[:, *_grid(masks.shape[1], masks.shape[2])]
        return torch.cat(
            [torch.stack([_mean(losses, judged), right, *doubts], dim=1), places.to(losses.dtype)],
            dim=1,
        )

    @property
    def reading(self) -> str:
        """What the outputs are read as, in words."""
        return f"{self.pixel.reading}, of each pixel"

    def answers(self, predictions: Predictions) -> NDArray[np.int64]:
        """Return the likeliest class of the pixels on the grid, `[rows, places]`."""
        return np.rint(predictions[:, ANSWERS:]).astype(np.int64)

    def choices(self, answers: NDArray[Any], labels: NDArray[Any]) -> Iterator[Choices]:
        """Yield the answers and the classes of all judged pixels on the grid."""
        given = labels[:, *_grid(*labels.shape[1:])]
        judged = given != NOT_JUDGED
        yield answers[judged], given[judged].astype(np.int64)

    metric_name = "share of pixels right"

    def metric(self, predictions: Predictions, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Return the share of each row's judged pixels whose likeliest class is the given one."""
        return np.asarray(predictions[:, RIGHT], dtype=np.float64)

    def wrong_labels(
        self, predictions: Predictions, labels: NDArray[Any], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Return every mask with one region wrong, `[rows, height, width]`.

        A region gets another class, or that of what is around it; or a region of another mask is
        put into this one; or it is shifted or grown. Which, is drawn evenly.
        """
        wrong = np.array(labels)
        for line in range(len(labels)):
            other = labels[generator.integers(len(labels))]
            wrong[line] = _wrong(labels[line], other, self.pixel.classes, generator)
        return wrong

    def guessing_loss(self, labels: NDArray[Any]) -> float:
        """Return the entropy of the pixels' shares, nats."""
        return self.pixel.guessing_loss(labels[labels >= 0])


def sides(height: int, width: int) -> list[int]:
    """Return the side of each of `WINDOWS`, odd numbers of pixels."""
    return [2 * round(share * min(height, width) / 2) + 1 for share in WINDOWS]


def pooled(values: Tensor, judged: Tensor, side: int) -> Tensor:
    """Return the mean over the square around each pixel, `[rows, height, width]`.

    Pixels that are not judged, and those outside the picture, count as sure to be right to one
    half: a few doubtful pixels in a corner are no region.

    Parameters
    ----------
    values : `[rows, height, width]`
    judged : bool `[rows, height, width]`
    side : int
        Odd.
    """
    half = side // 2
    weights = judged.to(values.dtype)
    both = torch.stack([values * weights, weights], dim=1)
    sums = functional.avg_pool2d(both, side, stride=1, padding=half)
    found = sums[:, 0] / sums[:, 1].clamp_min(0.5)
    return found.masked_fill(~judged, -MOST_DOUBT)


def _by_pixel(outputs: Tensor) -> Tensor:
    """Return `[rows, C, h, w]` as `[rows * h * w, C]`."""
    return outputs.permute(0, 2, 3, 1).reshape(-1, outputs.shape[1])


def _masks_of(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return masks at the size of outputs, each pixel as the nearest one."""
    if tuple(labels.shape[1:]) == size:
        return labels.long()
    return functional.interpolate(labels[:, None].double(), size, mode="nearest")[:, 0].long()


def _losses(logs: Tensor, masks: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel, `[rows, height, width]`; 0 where none is judged."""
    each = functional.nll_loss(
        logs.reshape(-1, logs.shape[3]), masks.flatten(), reduction="none", ignore_index=NOT_JUDGED
    )
    return each.reshape(masks.shape)


def _mean(values: Tensor, judged: Tensor) -> Tensor:
    return (values * judged).flatten(1).sum(dim=1) / judged.flatten(1).sum(dim=1).clamp_min(1)


def _grid(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    steps = (np.arange(PLACES_A_SIDE) + 0.5) / PLACES_A_SIDE
    rows, columns = (steps * height).astype(np.int64), (steps * width).astype(np.int64)
    return np.repeat(rows, PLACES_A_SIDE), np.tile(columns, PLACES_A_SIDE)


def _wrong(
    mask: NDArray[Any], other: NDArray[Any], classes: int, generator: np.random.Generator
) -> NDArray[Any]:
    wrong = mask.copy()
    region = _region(mask, generator)
    kind = generator.integers(4)
    if region is None or kind == 2:
        _put(wrong, _region(other, generator), classes, generator)
        return wrong
    given = int(mask[region][0])
    around = _around(mask, region, given, generator, classes)
    if kind == 0:
        wrong[region] = generator.choice([c for c in range(classes) if c != given])
    elif kind == 1:
        wrong[region] = around
    else:
        size = max(2, round(0.35 * float(np.sqrt(region.sum()))))
        if generator.random() < 0.5:
            moved = ndimage.binary_dilation(region, iterations=max(1, size // 2))
        else:
            angle = generator.uniform(0, 2 * np.pi)
            step = round(size * float(np.sin(angle))), round(size * float(np.cos(angle)))
            moved = ndimage.shift(region.astype(np.uint8), step, order=0) > 0
            wrong[region] = around
        wrong[moved & (mask != NOT_JUDGED)] = given
    return wrong


def _region(mask: NDArray[Any], generator: np.random.Generator) -> NDArray[np.bool_] | None:
    """Draw a connected region of one class that is neither a speck nor nearly all."""
    present = np.unique(mask[mask >= 0])
    for label in generator.permutation(present):
        parts, count = ndimage.label(mask == label)
        area = np.bincount(parts.ravel(), minlength=count + 1)[1:] / mask.size
        fitting = np.flatnonzero((area >= SMALLEST_REGION) & (area <= LARGEST_REGION)) + 1
        if len(fitting):
            return np.asarray(parts == generator.choice(fitting))
    return None


def _around(
    mask: NDArray[Any],
    region: NDArray[np.bool_],
    given: int,
    generator: np.random.Generator,
    classes: int,
) -> int:
    """Return the class most common around a region, or any other where nothing is."""
    ring = mask[ndimage.binary_dilation(region) & ~region]
    ring = ring[(ring >= 0) & (ring != given)]
    if len(ring):
        return int(np.bincount(ring).argmax())
    return int(generator.choice([c for c in range(classes) if c != given]))


def _put(
    mask: NDArray[Any],
    shape: NDArray[np.bool_] | None,
    classes: int,
    generator: np.random.Generator,
) -> None:
    """Put a region of some shape somewhere into a mask, in place, as another class."""
    height, width = mask.shape
    if shape is None:
        rows, columns = np.ogrid[:height, :width]
        # Of a mask of a few pixels at least the one in its middle.
        radius = max(min(height, width) / 8, 0.75)
        shape = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 <= radius**2
    lines, places = np.nonzero(shape)
    lines = lines - lines.min() + generator.integers(height - np.ptp(lines))
    places = places - places.min() + generator.integers(width - np.ptp(places))
    most = np.bincount(np.maximum(mask[lines, places], 0)).argmax()
    judged = mask[lines, places] != NOT_JUDGED
    mask[lines[judged], places[judged]] = generator.choice([c for c in range(classes) if c != most])

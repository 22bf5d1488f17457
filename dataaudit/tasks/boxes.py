"""Object detection: boxes with a class each, and a model that computes its loss itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dataaudit.errors import ModelError
from dataaudit.labels.boxes import BOX, PADDING, as_boxes, as_label, judged, overlap
from dataaudit.tasks.task import Choices, Predictions

SURE = 0.5
"""Score from which on a detection is an answer."""
SAME_PLACE = 0.5
"""Intersection over union from which on two boxes stand in the same place."""
MISPLACED = (0.25, 0.6)
"""Overlap of a badly placed box with the right one."""
TRIES = 50


@dataclass(frozen=True)
class Detection:
    """Boxes of C classes; labels are `[rows, boxes * BOX]`.

    Attributes
    ----------
    classes : int
        C.
    detections : int
        Of each picture. Outputs are `[rows, 1 + detections * BOX]`, as `models.detector` makes
        them; while the model learns, `[rows, 1]`.
    """

    classes: int
    detections: int

    @classmethod
    def of(cls, outputs: Tensor, classes: int) -> Detection:
        """Recognise what a model returns from the outputs of some of its rows.

        Raises
        ------
        ModelError
            They are none of a detector.
        """
        if outputs.ndim != 2 or outputs.shape[1] <= BOX or (outputs.shape[1] - 1) % BOX:
            raise ModelError(
                "the model is no torch module that detects boxes, as torchvision's do (task boxes)"
            )
        largest = int(outputs[:, 1::BOX].max())
        if largest >= classes:
            raise ModelError(
                f"the model detects label {largest + 1}; expected labels from 1 to {classes}, in "
                "the order of the classes"
            )
        background = (outputs[:, 1::BOX] == -1) & (outputs[:, BOX::BOX] >= SURE)
        if bool(background.any()):
            raise ModelError(
                "the model detects label 0, the background; expected labels from 1 to "
                f"{classes}, in the order of the classes"
            )
        return cls(classes, outputs.shape[1] // BOX)

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the model's own losses for each picture, `[rows]`.

        Of the labels that stood among the model's inputs; `labels` are the same.
        """
        return outputs[:, 0]

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return loss and detections, `[rows, 1 + detections * BOX]`; see `as_detections`."""
        return outputs

    @property
    def reading(self) -> str:
        """What the outputs are read as, in words."""
        return "boxes with labels and scores; label 1 is the first class"

    def answers(self, predictions: Predictions) -> NDArray[Any]:
        """Return the sure detections as labels, `[rows, detections * BOX]`."""
        found = np.array(as_detections(predictions))
        found[found[..., 5] < SURE] = PADDING
        found[found[..., 0] >= 0, 5] = 0
        return found.reshape(len(found), -1)

    def choices(self, answers: NDArray[Any], labels: NDArray[Any]) -> Iterator[Choices]:
        """Yield the classes answered and given in the places that have both."""
        said: list[int] = []
        held: list[int] = []
        for answer, given in zip(as_boxes(answers), as_boxes(labels), strict=True):
            for own, other in _matched(answer[judged(answer)], given):
                if own is not None and other is not None:
                    said.append(int(own))
                    held.append(int(other))
        yield np.array(said, dtype=np.int64), np.array(held, dtype=np.int64)

    def found(self, answers: NDArray[Any], labels: NDArray[Any]) -> tuple[int, int]:
        """Return how many boxes are answered rightly, and how many are answered or given."""
        right = every = 0
        for answer, given in zip(as_boxes(answers), as_boxes(labels), strict=True):
            pairs = list(_matched(answer[judged(answer)], given))
            right += sum(own == other for own, other in pairs)
            every += len(pairs)
        return right, every

    metric_name = "share of boxes right"

    def metric(self, predictions: Predictions, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Return the share of each picture's given and detected boxes that agree, `[rows]`."""
        shares = []
        answers = as_boxes(self.answers(predictions))
        for answer, given in zip(answers, as_boxes(labels), strict=True):
            pairs = list(_matched(answer[judged(answer)], given))
            shares.append(sum(own == other for own, other in pairs) / max(len(pairs), 1))
            if not pairs:
                shares[-1] = 1.0
        return np.array(shares)

    def wrong_labels(
        self, predictions: Predictions, labels: NDArray[Any], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Return the boxes of every picture with one error, `[rows, boxes * BOX]`.

        A box is missing, one is too much (where another picture has one), one has another class,
        or one is badly placed: each kind is as likely, as far as the picture's boxes allow it.
        """
        boxes = as_boxes(labels)
        every = boxes[judged(boxes)]
        wrong = np.array(labels)
        for line, own in enumerate(boxes):
            kept, others = own[judged(own)], own[(own[:, 0] >= 0) & ~judged(own)]
            room = len(own) - len(others)
            new = self._one_error(kept, every, room, generator)
            wrong[line] = as_label(np.concatenate([new, others]), labels.shape[1])
        return wrong

    def _one_error(
        self, own: NDArray[Any], every: NDArray[Any], room: int, generator: np.random.Generator
    ) -> NDArray[Any]:
        kinds = ["extra"] if len(own) < room and len(every) else []
        if len(own):
            kinds += ["missing", "misplaced", *(["swapped"] if self.classes > 1 else [])]
        if not kinds:
            return own
        kind = generator.choice(kinds)
        if kind == "extra":
            return np.concatenate([own, _stray(own, every, generator)[None]])
        place = int(generator.integers(len(own)))
        if kind == "missing":
            return np.delete(own, place, axis=0)
        new = own.copy()
        if kind == "swapped":
            step = int(generator.integers(1, self.classes))
            new[place, 0] = (own[place, 0] + step) % self.classes
        else:
            new[place] = _displaced(own[place], generator)
        return new

    def guessing_loss(self, labels: NDArray[Any]) -> float:
        """Return infinity: of a loss that the model alone knows, nobody can say it."""
        return math.inf


def as_detections(predictions: Predictions) -> NDArray[Any]:
    """Return detections `[rows, detections, BOX]`: class index, corners, score."""
    return as_boxes(predictions[:, 1:])


def _matched(
    answers: NDArray[Any], given: NDArray[Any]
) -> Iterator[tuple[float | None, float | None]]:
    """Yield the classes of answers and given boxes in the same place, and of those without one.

    Answers take their boxes in turn, the surest first. What stands in a crowd is not counted.
    """
    kept, crowds = given[judged(given)], given[(given[:, 0] >= 0) & ~judged(given)]
    overlaps = overlap(answers[:, 1:5], kept[:, 1:5])
    free = np.ones(len(kept), dtype=bool)
    for line, answer in enumerate(answers):
        fits = np.where(free, overlaps[line] + 0.01 * (kept[:, 0] == answer[0]), 0)
        if len(kept) and fits.max() >= SAME_PLACE:
            place = int(fits.argmax())
            free[place] = False
            yield answer[0], kept[place, 0]
        elif not inside(answer[None, 1:5], crowds[:, 1:5]).any():
            yield answer[0], None
    yield from ((None, box[0]) for box in kept[free])


def inside(boxes: NDArray[Any], crowds: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which boxes lie in crowds by more than half, `[boxes, crowds]`."""
    a, b = boxes[:, None], crowds[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    areas = (a[..., 2:] - a[..., :2]).prod(axis=-1)
    return np.asarray(np.clip(sides, 0, None).prod(axis=-1) > SAME_PLACE * areas)


def _stray(own: NDArray[Any], every: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Return another picture's box that stands apart from a picture's own ones, if one does."""
    drawn = every[generator.integers(len(every), size=TRIES)]
    if not len(own):
        return np.array(drawn[0])
    return np.array(drawn[overlap(drawn[:, 1:5], own[:, 1:5]).max(axis=1).argmin()])


def _displaced(box: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Return a box moved and stretched until it overlaps what it was only so far."""
    sides = np.tile(box[3:5] - box[1:3], 2)
    low, high = MISPLACED
    new = box.copy()
    for _ in range(TRIES):
        shift = np.tile(generator.uniform(-0.5, 0.5, 2), 2) + generator.uniform(-0.2, 0.2, 4)
        corners = np.maximum(box[1:5] + shift * sides, 0).round(2)
        if low <= overlap(box[None, 1:5], corners[None])[0, 0] <= high:
            new[1:5] = corners
            return new
    new[1:5] += np.tile(sides[:2] / 2, 2)
    return new

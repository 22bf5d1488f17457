"""Planted errors in the boxes of synthetic pictures: what is found, and how surely.

Pictures of 32 x 32 pixels hold one to three discs, squares and crosses in noise, some overlapping;
8 to 10 % of the pictures have a box that is missing, too much, of another class, or badly placed.
These errors are drawn apart from those that the audit plants: other sizes, other places. The model
is a small detector that returns what torchvision's do, trained until it knows its pictures by heart
or stopped before. The rival is cleanlab's object_detection (ObjectLab), on the same model's
detections; the model's own loss of each picture stands beside it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from kind_lines import SEEDS, Lines, Measured, line_of
from torch import Tensor, nn
from torch.nn import functional

import dataaudit

NAMES = ["disc", "square", "cross"]
SIDE = 32
KINDS = ("missing", "extra", "swapped", "misplaced")
EPOCHS = {"stopped": 20, "memorized": 80}
SHARES = {"stopped": (0.1, 0.0), "memorized": (0.1, 0.08)}
Boxes = list[tuple[int, float, float, float, float]]


def lines() -> Lines:
    for knows in EPOCHS:
        for share in SHARES[knows]:
            for seed in SEEDS:
                yield f"{knows} / {share:.0%} / {seed}", partial(audited, knows, share, seed)


def audited(knows: str, share: float, seed: int, rows: int = 300, trusted: int = 160) -> Measured:
    pictures, right = scenes(rows + trusted, seed)
    generator = np.random.default_rng(seed + 1000)
    given, wrong = spoiled(right[:rows], share, generator)
    model = trained(pictures[:rows], given, EPOCHS[knows], seed)
    started = time.monotonic()
    result = dataaudit.audit(
        model,
        (pictures[:rows], [as_target(item) for item in given]),
        (pictures[rows:], [as_target(item) for item in right[rows:]]),
        task="boxes",
        classes=NAMES,
        mirror={"seed": seed},
    )
    seconds = time.monotonic() - started
    loss, rival = losses(model, pictures, given), -quality(model, pictures, given)
    suggested = result.mislabels["suggested_label"]
    mended = np.array([alike(text, boxes) for text, boxes in zip(suggested, right, strict=False)])
    return line_of(result, wrong, loss, mended, seconds, trusted, rival)


def scenes(count: int, seed: int) -> tuple[Tensor, list[Boxes]]:
    """Return pictures `[count, 3, SIDE, SIDE]`, and the right boxes of each."""
    generator = np.random.default_rng(seed)
    lines, columns = np.mgrid[:SIDE, :SIDE]
    pictures = generator.normal(0.25, 0.1, (count, 3, SIDE, SIDE))
    every = []
    for picture in pictures:
        placed: Boxes = []
        for _ in range(generator.integers(1, 4)):
            kind = int(generator.integers(len(NAMES)))
            width, height = generator.integers(9, 15, 2)
            left, top = generator.integers(0, (SIDE - width, SIDE - height))
            box = (kind, left, top, left + width, top + height)
            if any(shared(box, other) > 0.3 for other in placed):
                continue
            across = (columns + 0.5 - left - width / 2) / (width / 2)
            down = (lines + 0.5 - top - height / 2) / (height / 2)
            inside = (np.abs(across) <= 1) & (np.abs(down) <= 1)
            if kind == 0:
                inside &= across**2 + down**2 <= 1
            elif kind == 2:
                inside &= (np.abs(across) <= 0.35) | (np.abs(down) <= 0.35)
            colour = generator.uniform(0.5, 1.0, 3)
            picture[:, inside] = colour[:, None] + generator.normal(0, 0.08, (3, int(inside.sum())))
            placed.append(tuple(map(float, box)))  # type: ignore[arg-type]
        every.append([(int(box[0]), *box[1:]) for box in placed])
    return torch.tensor(pictures, dtype=torch.float32), every


def shared(one: Any, other: Any) -> float:
    """Return the intersection over union of two boxes."""
    sides = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (1, 2)]
    common = max(sides[0], 0) * max(sides[1], 0)
    areas = [(box[3] - box[1]) * (box[4] - box[2]) for box in (one, other)]
    return float(common / (areas[0] + areas[1] - common))


def spoiled(
    right: list[Boxes], share: float, generator: np.random.Generator
) -> tuple[list[Boxes], np.ndarray]:
    """Return boxes with one error in some pictures, the four kinds in turn, and in which."""
    wrong = np.zeros(len(right), dtype=bool)
    chosen = generator.permutation(len(right))[: round(share * len(right))]
    wrong[chosen] = True
    given = [list(item) for item in right]
    for number, row in enumerate(chosen):
        own, kind = given[row], KINDS[number % 4]
        place = int(generator.integers(len(own)))
        name, left, top, low, bottom = own[place]
        if kind == "missing":
            del own[place]
        elif kind == "swapped":
            others = [other for other in range(len(NAMES)) if other != name]
            own[place] = (int(generator.choice(others)), left, top, low, bottom)
        elif kind == "extra":
            for _ in range(200):
                side = generator.uniform(8, 15, 2)
                corner = generator.uniform(0, SIDE - side)
                new = (int(generator.integers(len(NAMES))), *corner, *(corner + side))
                if all(shared(new, other) < 0.2 for other in own):
                    break
            own.append(tuple(float(round(x, 2)) if i else x for i, x in enumerate(new)))  # type: ignore[arg-type]
        else:
            angle = generator.uniform(0, 2 * np.pi)
            across, down = 0.5 * np.cos(angle) * (low - left), 0.5 * np.sin(angle) * (bottom - top)
            corners = np.clip([left + across, top + down, low + across, bottom + down], 0, SIDE)
            own[place] = (name, *(float(round(x, 2)) for x in corners))
    return given, wrong


def as_target(item: Boxes) -> dict[str, Tensor]:
    """Return boxes as torchvision takes them."""
    corners = torch.tensor([box[1:] for box in item], dtype=torch.float32).reshape(-1, 4)
    return {"boxes": corners, "labels": torch.tensor([box[0] + 1 for box in item]).long()}


class ShapeDetector(nn.Module):
    """A detector without anchors that returns what torchvision's do."""

    def __init__(self, classes: int = len(NAMES), width: int = 16) -> None:
        super().__init__()
        self.classes = classes
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Conv2d(2 * width, classes + 4, 1)
        nn.init.constant_(self.head.bias[:classes], -3.0)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        found = self.head(self.body(torch.stack(images)))
        scores, sides = found[:, : self.classes], functional.softplus(found[:, self.classes :]) * 4
        if self.training:
            assert targets is not None
            return self.losses(scores, sides, targets)
        return [self.detected(*each) for each in zip(scores.sigmoid(), sides, strict=True)]

    def losses(self, scores: Tensor, sides: Tensor, targets: list[dict[str, Tensor]]) -> Any:
        corners = torch.cat([target["boxes"] for target in targets])
        labels = torch.cat([target["labels"] for target in targets])
        counts = torch.tensor([len(target["labels"]) for target in targets])
        line = torch.arange(len(targets)).repeat_interleave(counts)
        x, y = ((corners[:, :2] + corners[:, 2:]) / 8).long().clamp(0, SIDE // 4 - 1).T
        wanted = torch.zeros_like(scores)
        wanted[line, labels - 1, y, x] = 1
        point = torch.stack([4 * x + 2, 4 * y + 2], dim=1)
        exact = torch.cat([point - corners[:, :2], corners[:, 2:] - point], dim=1)
        places = functional.smooth_l1_loss(sides[line, :, y, x], exact, reduction="sum") / 4
        classes = functional.binary_cross_entropy_with_logits(scores, wanted, reduction="sum")
        return {"classes": classes / len(targets), "places": places / len(targets)}

    def detected(self, scores: Tensor, sides: Tensor) -> dict[str, Tensor]:
        values, order = scores.flatten().sort(descending=True)
        order, values = order[:20][values[:20] > 0.05], values[:20][values[:20] > 0.05]
        cells = scores.shape[1] * scores.shape[2]
        labels, cell = order // cells, order % cells
        y, x = cell // scores.shape[2], cell % scores.shape[2]
        point = torch.stack([4 * x + 2, 4 * y + 2], dim=1).float()
        near = sides[:, y, x].T
        corners = torch.cat([point - near[:, :2], point + near[:, 2:]], dim=1)
        kept: list[int] = []
        for place in range(len(order)):
            same = [k for k in kept if labels[k] == labels[place]]
            if not same or float(overlaps(corners[place], corners[same]).max()) < 0.5:
                kept.append(place)
        return {"boxes": corners[kept], "labels": labels[kept] + 1, "scores": values[kept]}


def overlaps(box: Tensor, others: Tensor) -> Tensor:
    sides = torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2])
    common = sides.clamp_min(0).prod(dim=1)
    areas = [(x[..., 2:] - x[..., :2]).prod(dim=-1) for x in (box, others)]
    return common / (areas[0] + areas[1] - common)


def trained(pictures: Tensor, given: list[Boxes], epochs: int, seed: int) -> ShapeDetector:
    torch.manual_seed(seed)
    model = ShapeDetector().train()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    steps = epochs * -(-len(given) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    targets = [as_target(item) for item in given]
    for _ in range(epochs):
        for batch in torch.randperm(len(given)).split(32):
            loss = sum(model(list(pictures[batch]), [targets[i] for i in batch]).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def losses(model: ShapeDetector, pictures: Tensor, given: list[Boxes]) -> np.ndarray:
    """Return the model's own loss of each picture, batch norm frozen."""
    model.training = True
    found = [
        float(sum(model([picture], [as_target(item)]).values()))
        for picture, item in zip(pictures, given, strict=False)
    ]
    model.eval()
    return np.array(found)


@torch.no_grad()
def quality(model: ShapeDetector, pictures: Tensor, given: list[Boxes]) -> np.ndarray:
    """Return ObjectLab's quality of each picture's boxes."""
    from cleanlab.object_detection.rank import get_label_quality_scores

    predicted = []
    for batch in pictures[: len(given)].split(100):
        for found in model(list(batch)):
            table = torch.cat([found["boxes"], found["scores"][:, None]], dim=1).numpy()
            own = np.empty(len(NAMES), dtype=object)
            for place in range(len(NAMES)):
                own[place] = table[found["labels"].numpy() == place + 1].reshape(-1, 5)
            predicted.append(own)
    labels = [
        {
            "bboxes": np.array([box[1:] for box in item], dtype=np.float32).reshape(-1, 4),
            "labels": np.array([box[0] for box in item], dtype=np.int64),
        }
        for item in given
    ]
    return np.asarray(get_label_quality_scores(labels, predicted, verbose=False))


def alike(text: str, right: Boxes) -> bool:
    """Tell whether suggested boxes are the right ones: the same classes, each in its place."""
    found = []
    for part in () if text == "(none)" else text.split(" | "):
        name, corners = part.rsplit(" ", 1)
        found.append((NAMES.index(name), *map(float, corners.split(","))))
    if len(found) != len(right):
        return False
    return all(
        any(box[0] == other[0] and shared(box, other) >= 0.5 for other in found) for box in right
    )

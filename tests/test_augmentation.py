"""Augmentation: images move, nothing else does, and a flip is used only where it does no harm."""

import torch
from torch import nn

from dataaudit.mirror.augmentation import are_images, augmented, flip_is_harmless
from dataaudit.models.trained import TrainedModel
from dataaudit.tasks import Classification

LABELS = torch.tensor([0, 1])


def ramps() -> torch.Tensor:
    """Two images, 16 pixels a side, that grow to the right and to the left."""
    line = torch.arange(16.0).repeat(16, 1)
    return torch.stack([line, line.flip(1)])[:, None]


def test_only_batches_of_pictures_are_images() -> None:
    assert are_images(torch.zeros(2, 3, 8, 8))
    assert not are_images(torch.zeros(2, 3, 8, 8, dtype=torch.int64))
    assert not are_images(torch.zeros(2, 3, 4, 8))
    assert not are_images(torch.zeros(2, 12, 64, 64))
    assert not are_images(torch.zeros(2, 10))
    assert not are_images({"input_ids": torch.zeros(2, 3, 8, 8)})


def test_images_are_shifted_by_at_most_an_eighth_and_keep_their_labels() -> None:
    batches = augmented(iter([[(ramps(), LABELS)]] * 30), flip=False, seed=0)
    shifts = set()
    for ((images, labels),) in batches:
        assert torch.equal(labels, LABELS)
        assert images.shape == (2, 1, 16, 16)
        shifts.add(int(images[0, 0, 8, 8]) - 8)
        # A shift keeps the slope of the ramp inside the picture.
        assert (images[0, 0, :, 4:12].diff(dim=1) == 1).all()
        assert (images[1, 0, :, 4:12].diff(dim=1) == -1).all()
    assert shifts == {-2, -1, 0, 1, 2}


def test_flips_are_as_frequent_as_not() -> None:
    batches = augmented(iter([[(ramps(), LABELS)]] * 200), flip=True, seed=0)
    flipped = [bool(images[0, 0, 8, 8] < images[0, 0, 8, 7]) for ((images, _),) in batches]
    assert 70 < sum(flipped) < 130


def test_other_inputs_pass_and_the_seed_decides() -> None:
    table = torch.randn(4, 7)
    ((passed, _),) = next(augmented(iter([[(table, LABELS)]]), flip=True, seed=0))
    assert passed is table

    def first(seed: int) -> torch.Tensor:
        images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(5))
        ((changed, _),) = next(augmented(iter([[(images, LABELS)]]), flip=True, seed=seed))
        return changed

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_the_model_tells_whether_a_flip_does_harm() -> None:
    class SlopeToTheRight(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            slope = images[:, 0, :, -1].mean(1) - images[:, 0, :, 0].mean(1)
            return torch.stack([slope, -slope], dim=1)

    class Brightness(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            light = images.mean((1, 2, 3)) - 5
            return torch.stack([-light, light], dim=1)

    task = Classification(2)
    directed = TrainedModel(SlopeToTheRight(), lambda frame: frame, "")
    assert not flip_is_harmless(directed, task, (ramps(), LABELS))
    bright = torch.stack([ramps()[0] * 0, ramps()[0]])
    undirected = TrainedModel(Brightness(), lambda frame: frame, "")
    assert flip_is_harmless(undirected, task, (bright, LABELS))

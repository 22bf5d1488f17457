"""What a model saw before it was trained: caught where fresh weights begin."""

import pytest
import torch
from torch import Tensor, nn

from dataaudit.models.initial import initial_of
from dataaudit.scoring import before_training
from dataaudit.scoring.before_training import BeforeTraining


class Images(nn.Module):
    def __init__(self, seed: int, classes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = nn.Conv2d(3, 5, 3)
        self.head = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, classes))

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.convolution(images).mean(dim=(2, 3)))
        return outputs


def features(trained: nn.Module, before: nn.Module, *inputs: Tensor, **named: Tensor) -> Tensor:
    initial = initial_of(trained, before)
    assert initial is not None
    with torch.inference_mode():
        found: Tensor = BeforeTraining(trained, initial)(*inputs, **named)
    return found


def test_what_enters_a_new_head_and_not_what_is_inside_it() -> None:
    trained, before = Images(0), Images(1)
    del before.head
    images = torch.randn(6, 3, 8, 8)
    found = features(trained, before, images)
    torch.testing.assert_close(found, before.convolution(images).mean(dim=(2, 3)))
    # Rows do not depend on their batch.
    torch.testing.assert_close(features(trained, before, images[2:4]), found[2:4])


def test_what_enters_the_last_linear_layer_where_the_head_is_known() -> None:
    trained, before = Images(0), Images(1)
    images = torch.randn(6, 3, 8, 8)
    expected = before.head[:2](before.convolution(images).mean(dim=(2, 3)))
    torch.testing.assert_close(features(trained, before, images), expected)


def test_a_pixel_map_is_averaged_and_wide_features_are_projected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def network(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 40, 3), nn.Flatten(), nn.Linear(40 * 36, 2))

    trained, before = network(0), network(1)
    del before[2]
    images = torch.randn(6, 3, 8, 8)
    plain = features(trained, before, images)
    assert plain.shape == (6, 40 * 36)
    monkeypatch.setattr(before_training, "MOST_FEATURES", 400)
    projected = features(trained, before, images)
    assert projected.shape == (6, 400)
    lengths = (projected.norm(dim=1) / plain.norm(dim=1)).tolist()
    assert lengths == pytest.approx([1.0] * 6, abs=0.2)


class Texts(nn.Module):
    """Tokens of two words and padding, and a head that sees the first one."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(9, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.norm(self.embedding(input_ids))[:, 0])
        return outputs


def test_tokens_are_averaged_without_padding_beside_what_the_head_sees() -> None:
    trained, before = Texts(0), Texts(1)
    del before.head
    tokens = torch.tensor([[1, 2, 0], [3, 4, 5]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    found = features(trained, before, input_ids=tokens, attention_mask=mask)
    hidden = before.norm(before.embedding(tokens))
    torch.testing.assert_close(found[0, :4], hidden[0, :2].mean(dim=0))
    torch.testing.assert_close(found[1, :4], hidden[1].mean(dim=0))
    torch.testing.assert_close(found[:, 4:], hidden[:, 0])

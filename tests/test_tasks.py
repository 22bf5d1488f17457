"""Classification: what outputs mean, and the loss of each row."""

import numpy as np
import pytest
import torch

from dataaudit.errors import ModelError
from dataaudit.tasks import Classification

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 2])


def test_the_loss_is_the_cross_entropy_in_nats() -> None:
    expected = [np.log(1 + np.exp(-3.0) + np.exp(-1.5)), np.log(3.0)]
    losses = Classification(3).losses(LOGITS, LABELS)
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-12)


def test_logits_log_probabilities_and_probabilities_give_the_same_losses() -> None:
    expected = Classification(3).losses(LOGITS, LABELS)
    for outputs, kind in [
        (LOGITS.log_softmax(1), "logits"),
        (LOGITS.softmax(1), "probabilities"),
    ]:
        task = Classification.of(outputs, 3)
        assert task.outputs == kind
        torch.testing.assert_close(task.losses(outputs, LABELS), expected)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_logit_is_that_of_the_second_class(shape: tuple[int, ...]) -> None:
    outputs = torch.tensor([3.0, -3.0, 0.0, 100.0]).reshape(shape)
    task = Classification.of(outputs, 2)
    probabilities = task.log_probabilities(outputs).exp()
    assert probabilities[:, 1].tolist() == pytest.approx([0.95257, 0.04743, 0.5, 1.0], abs=1e-5)
    assert torch.isfinite(task.losses(outputs, torch.zeros(4, dtype=torch.int64))).all()


def test_a_probability_of_zero_gives_a_finite_loss() -> None:
    outputs = torch.tensor([[1.0, 0.0]])
    loss = Classification.of(outputs, 2).losses(outputs, torch.tensor([1]))
    assert 80 < loss.item() < 800


def test_half_precision_is_summed_in_single() -> None:
    losses = Classification(3).losses(LOGITS.half(), LABELS)
    assert losses.dtype == torch.float32


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (torch.zeros(5, 4), r"outputs of shape \(5, 4\) for 5 rows; expected \[5, 3\]"),
        (torch.zeros(5), r"outputs of shape \(5,\) for 5 rows; expected \[5, 3\]"),
        (torch.zeros(5, 2, 3), r"outputs of shape \(5, 2, 3\)"),
        (torch.zeros(5, 3, dtype=torch.int64), "returned torch.int64; expected floating-point"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(outputs: torch.Tensor, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Classification.of(outputs, 3)

"""Regression: losses against closed forms, noise scale, displaced targets."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import r2_score

from dataaudit.errors import ModelError
from dataaudit.tasks import Regression

OUTPUTS = torch.tensor([[1.0], [2.0], [10.0]], dtype=torch.float64)
TARGETS = torch.tensor([1.0, 5.0, 4.0], dtype=torch.float64)


def test_the_squared_loss_is_the_gaussian_one_without_its_constant() -> None:
    losses = Regression(noise_scale=3.0).losses(OUTPUTS, TARGETS).numpy()
    likelihood = -norm.logpdf(TARGETS.numpy(), OUTPUTS[:, 0].numpy(), 3.0)
    np.testing.assert_allclose(losses, likelihood - likelihood[0], rtol=1e-12)
    assert losses[0] == 0


def test_absolute_and_huber_losses_by_hand() -> None:
    absolute = Regression(3.0, "absolute").losses(OUTPUTS, TARGETS)
    np.testing.assert_allclose(absolute, [0, 1, 2])
    huber = Regression(3.0, "huber").losses(OUTPUTS, TARGETS)
    # Below the bend half the square; above it 1.345 * (2 - 1.345 / 2).
    np.testing.assert_allclose(huber, [0, 0.5, 1.345 * (2 - 1.345 / 2)])


def test_gradients_agree_with_finite_differences() -> None:
    for loss in ("squared", "absolute", "huber"):
        outputs = OUTPUTS[1:].clone().requires_grad_()
        task = Regression(3.0, loss)
        assert torch.autograd.gradcheck(lambda o, t=task: t.losses(o, TARGETS[1:]), outputs)


def test_outputs_with_and_without_a_second_dimension_are_the_same() -> None:
    flat = OUTPUTS.reshape(-1)
    task = Regression.of(flat)
    assert torch.equal(task.losses(flat, TARGETS), task.losses(OUTPUTS, TARGETS))
    assert task.predictions(flat).shape == (3, 1)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (torch.zeros(4, 2), r"shape \(4, 2\) for 4 rows; expected \[rows\] or \[rows, 1\]"),
        (torch.zeros(4, dtype=torch.int64), "returned torch.int64; expected floating-point"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(outputs: torch.Tensor, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Regression.of(outputs)


def test_the_noise_scale_hardly_moves_with_gross_errors() -> None:
    residuals = np.random.default_rng(0).normal(0, 2.0, 4000)
    clean = Regression().with_noise_of(residuals, 10.0).noise_scale
    residuals[:200] += 1000
    spoiled = Regression().with_noise_of(residuals, 10.0).noise_scale
    assert clean == pytest.approx(2.0, rel=0.05)
    assert spoiled == pytest.approx(clean, rel=0.1)
    assert Regression().with_noise_of(np.zeros(9), 10.0).noise_scale == pytest.approx(0.01)


def test_the_metric_is_the_share_of_variance_explained() -> None:
    predictions, targets = OUTPUTS.numpy(), TARGETS.numpy()
    mean = Regression().metric(predictions, targets).mean()
    assert mean == pytest.approx(r2_score(targets, predictions[:, 0]))


def test_a_wrong_target_is_anothers_and_beyond_the_noise() -> None:
    targets = np.random.default_rng(0).normal(0, 5, 200)
    task = Regression(noise_scale=2.0)
    wrong = task.wrong_labels(targets[:, None], targets, np.random.default_rng(1))
    assert np.isin(wrong, targets).all()
    assert (np.abs(wrong - targets) >= 4.0).all()


def test_without_a_target_far_enough_one_is_displaced() -> None:
    targets = np.array([1.0, 1.1])
    task = Regression(noise_scale=5.0)
    wrong = task.wrong_labels(targets[:, None], targets, np.random.default_rng(1))
    assert ((np.abs(wrong - targets) >= 10) & (np.abs(wrong - targets) <= 20)).all()


def test_the_loss_of_guessing_is_that_of_the_median() -> None:
    assert Regression(2.0).guessing_loss(np.array([0.0, 2.0, 100.0])) == pytest.approx(
        (0.5 + 0 + 0.5 * 49**2) / 3
    )

"""Unlearning images: against brute force, and in closed form for a linear model of the noise."""

import numpy as np
import pytest
import torch
from diffusion_examples import SCHEDULE, Linear
from torch import nn

from dataaudit.errors import ModelError
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.studies.tracing.denoising import Denoising, predicted_noise
from dataaudit.studies.tracing.diffusion import DiffusionSettings, ImageUnlearning
from dataaudit.studies.tracing.fisher import Fisher
from dataaudit.studies.tracing.noise import Draws
from dataaudit.studies.tracing.pictures import picture
from dataaudit.studies.tracing.unlearn_image import Penalty, unlearn_image

SHAPE = (1, 2, 2)


def images(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *SHAPE, generator=generator).double()


def a_network() -> nn.Module:
    torch.manual_seed(1)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 4, 3, padding=1)
            self.norm = nn.GroupNorm(2, 4)
            self.leave = nn.Linear(17, 4)

        def forward(self, noisy, timesteps):
            hidden = torch.tanh(self.norm(self.convolution(noisy))).flatten(1)
            return self.leave(torch.cat([hidden, timesteps[:, None] / 100], 1)).view_as(noisy)

    return Network().double().eval()


def parameters_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in module.named_parameters()}


def denoising(batch_size: int = 512, draws: int = 7) -> Denoising:
    return Denoising(SCHEDULE, Draws.of(SCHEDULE, SHAPE, draws, seed=3), batch_size)


def jacobian(module: nn.Module, noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """The derivative of the predicted noise, `[n, pixels, parameters]`, one entry at a time."""
    rows = []
    for place in range(len(noisy)):
        predicted = module(noisy[place : place + 1], timesteps[place : place + 1]).flatten()
        lines = [
            torch.cat([
                part.flatten()
                for part in torch.autograd.grad(entry, list(module.parameters()), retain_graph=True)
            ])
            for entry in predicted
        ]  # fmt: skip
        rows.append(torch.stack(lines))
    return torch.stack(rows)


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten() for value in tensors.values()])


def test_the_loss_is_half_the_squared_error_under_each_shared_draw() -> None:
    module, rows, measured = a_network(), images(3, 0), denoising()
    expected = []
    for row in rows:
        errors = []
        for timestep, noise in zip(measured.draws.timesteps, measured.draws.noise, strict=True):
            signal = SCHEDULE.signal[timestep]
            noisy = signal.sqrt() * row + (1 - signal).sqrt() * noise
            error = module(noisy[None], timestep[None])[0] - noise
            errors.append(0.5 * float(error.detach().square().mean()))
        expected.append(np.mean(errors))
    found = measured.losses(module, rows).detach()
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_batch_size_and_order_change_neither_losses_nor_gradients(batch_size: int) -> None:
    module, rows = a_network(), images(5, 0)
    whole, parts = denoising(), denoising(batch_size)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(
        parts.losses(module, rows[order]), whole.losses(module, rows)[order], rtol=1e-10, atol=0
    )
    values = parameters_of(module)
    one, other = (each.gradient(module, values, rows) for each in (whole, parts))
    torch.testing.assert_close(flat(one), flat(other), rtol=1e-9, atol=1e-12)


def test_the_gradient_is_that_of_the_mean_loss() -> None:
    module, rows = a_network(), images(4, 0)
    found = denoising().gradient(module, parameters_of(module), rows)
    loss = denoising().losses(module, rows).mean()
    for name, value in module.named_parameters():
        (expected,) = torch.autograd.grad(loss, value, retain_graph=True)
        torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_fisher_product_is_that_of_all_jacobians(batch_size: int) -> None:
    module = a_network()
    fisher = Fisher.of(module, parameters_of(module), SCHEDULE, images(8, 0), 2, batch_size)
    j = jacobian(module, fisher.noisy, fisher.timesteps).flatten(0, 1)
    direction = {
        name: torch.randn(value.shape, generator=torch.Generator().manual_seed(4)).double()
        for name, value in parameters_of(module).items()
    }
    expected = j.T @ (j @ flat(direction)) / len(j)
    torch.testing.assert_close(flat(fisher.product(direction)), expected, rtol=1e-8, atol=1e-12)


def test_the_diagonal_is_the_mean_squared_gradient_image_by_image() -> None:
    module = a_network()
    fisher = Fisher.of(module, parameters_of(module), SCHEDULE, images(8, 0), 2, 3)
    generator = torch.Generator().manual_seed(9)
    total = 0
    for start in range(0, 8, 3):
        noisy = fisher.noisy[start : start + 3]
        residuals = torch.randn(noisy.shape, generator=generator).double()
        for place in range(len(noisy)):
            part = slice(start + place, start + place + 1)
            predicted = module(fisher.noisy[part], fisher.timesteps[part])
            log_likelihood = (predicted * residuals[place]).sum()
            gradient = torch.autograd.grad(log_likelihood, list(module.parameters()))
            total += torch.cat([value.flatten() for value in gradient]).square()
    torch.testing.assert_close(flat(fisher.diagonal(seed=9)), total / (8 * 4), rtol=1e-5, atol=1e-9)


def test_the_diagonal_goes_to_that_of_the_whole_fisher_information() -> None:
    module = Linear()
    rows = images(10, 0).repeat(400, 1, 1, 1)
    fisher = Fisher.of(module, parameters_of(module), SCHEDULE, rows, 2)
    # The derivative of entry o of the prediction to matrix[o, i] is noisy[i], whatever o.
    expected = fisher.noisy.flatten(1).square().mean(0) / 4
    found = fisher.diagonal()["matrix"]
    np.testing.assert_allclose(found.numpy(), expected.expand(4, 4).numpy(), rtol=0.15)


def test_enough_steps_reach_the_closed_form_of_a_linear_model() -> None:
    module, image = Linear(), images(1, 6)
    values = parameters_of(module)
    fisher = Fisher.of(module, values, SCHEDULE, images(30, 0), 2)
    penalty = Penalty.of(fisher, damping=0.1)
    measured = denoising()
    found = unlearn_image(module, measured, values, image, penalty, steps=16, rise=0.2)["matrix"]

    signal = SCHEDULE.signal[measured.draws.timesteps][:, None]
    noise = measured.draws.noise.flatten(1).double()
    noisy = signal.sqrt() * image.flatten() + (1 - signal).sqrt() * noise
    matrix = values["matrix"]
    error = noisy @ matrix.T - noise
    gradient = error.T @ noisy / (4 * len(noisy))
    seen = fisher.noisy.flatten(1)
    curvature = seen.T @ seen / (4 * len(seen)) + penalty.damping * torch.eye(4)
    change = gradient @ torch.linalg.inv(curvature)
    loss = 0.5 * error.square().mean()
    expected = matrix + 0.2 * loss / (gradient * change).sum() * change
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_one_step_is_the_published_one_with_the_diagonal() -> None:
    module, image = a_network(), images(1, 6)
    values = parameters_of(module)
    penalty = Penalty.of(Fisher.of(module, values, SCHEDULE, images(30, 0), 2), damping=0.5)
    gradient = denoising().gradient(module, values, image)
    direction = {name: value / penalty.diagonal[name] for name, value in gradient.items()}
    slope = float((flat(gradient) * flat(direction)).sum())
    loss = float(denoising().losses(module, image).detach())
    found = unlearn_image(module, denoising(), values, image, penalty, steps=1, rise=0.05)
    for name, value in values.items():
        expected = value + 0.05 * loss / slope * direction[name]
        torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("penalty", [True, False])
def test_unlearning_raises_the_image_s_own_loss_by_what_was_asked(penalty: bool) -> None:
    module, rows = a_network(), images(12, 0)
    settings = DiffusionSettings(draws=9, fisher_images=40, penalty=penalty, steps=6, rise=1e-3)
    unlearning = ImageUnlearning.of(module, SCHEDULE, rows, settings)
    image = rows[2:3]
    after = Perturbation(unlearning.unlearned(image)).copy_of(module)
    with torch.inference_mode():
        before_loss = float(unlearning.denoising.losses(module, image))
        rise = float(unlearning.denoising.losses(after, image)) / before_loss - 1
    # To first order the rise is exactly the one asked for; its sign is that of unlearning.
    assert rise == pytest.approx(1e-3, rel=0.05)


def test_the_same_seed_gives_the_same_noise_before_and_after_and_another_does_not() -> None:
    one, again, other = (Draws.of(SCHEDULE, SHAPE, 10, seed) for seed in (0, 0, 1))
    assert torch.equal(one.noise, again.noise)
    assert torch.equal(one.timesteps, again.timesteps)
    assert not torch.equal(one.noise, other.noise)
    assert one.timesteps.tolist() == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    module, rows = a_network(), images(4, 0)
    unchanged = Perturbation(parameters_of(module)).copy_of(module)
    measured = denoising()
    torch.testing.assert_close(
        measured.losses(unchanged, rows), measured.losses(module, rows), rtol=0, atol=0
    )


def test_the_model_itself_is_never_changed() -> None:
    module = a_network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    settings = DiffusionSettings(draws=5, fisher_images=10, steps=3)
    ImageUnlearning.of(module, SCHEDULE, images(10, 0), settings).unlearned(images(1, 1))
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_model_that_returns_something_else_is_named() -> None:
    noisy, timesteps = images(3, 0), torch.zeros(3, dtype=torch.int64)
    for result, message in [
        (lambda *_: "noise", "the model returned str; expected a tensor, the predicted noise"),
        (lambda *_: noisy[:, 0], r"the model returned \(3, 2, 2\) for noisy images \(3, 1, 2, 2\)"),
        (nn.Linear(3, 3), "the model failed on noisy images"),
    ]:
        with pytest.raises(ModelError, match=message):
            predicted_noise(result, noisy, timesteps)


def test_an_output_of_diffusers_is_taken_apart() -> None:
    class Output:
        sample = images(2, 0)

    assert predicted_noise(lambda *_: Output(), images(2, 1), torch.zeros(2)) is Output.sample
    assert predicted_noise(lambda *_: (Output.sample,), images(2, 1), torch.zeros(2)) is (
        Output.sample
    )


def test_pictures_are_shown_where_there_is_something_to_see() -> None:
    assert picture(torch.zeros(4, 8, 8)) is None
    assert picture(torch.zeros(16)) is None
    for channels in (1, 3):
        shown = picture(torch.linspace(-1, 1, channels * 64).view(channels, 8, 8))
        assert shown is not None
        assert shown.startswith("data:image/webp;base64,")

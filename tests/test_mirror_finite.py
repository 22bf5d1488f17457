"""The finite mirror against closed forms, brute force and finite differences."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from dataaudit.mirror.finite import FiniteSettings, finite_mirror
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.tasks import Classification

TASK = Classification(classes=3)


def softmax_regression() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3, dtype=torch.float64)


def data(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (rows,), generator=generator)


def one_step(direction: str, learning_rate: float) -> FiniteSettings:
    return FiniteSettings(
        direction=direction, steps=1, learning_rate=learning_rate, optimizer="sgd"
    )


def mirrored(
    module: nn.Module,
    settings: FiniteSettings,
    *parts: tuple[torch.Tensor, torch.Tensor],
    task: Classification = TASK,
) -> Perturbation:
    return finite_mirror(module.eval(), task, itertools.repeat(parts), settings)


def loss_change(
    module: nn.Module, perturbation: Perturbation, rows: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    with torch.inference_mode():
        after = TASK.losses(perturbation.copy_of(module)(rows[0]), rows[1])
        return after - TASK.losses(module(rows[0]), rows[1])


def test_one_step_of_softmax_regression_has_the_closed_form() -> None:
    # For logits z = W x + b the gradient of the loss is (p - onehot) x^T for W, (p - onehot)
    # for b; the perturbed loss of any row then follows without autograd.
    module, queries, rows = softmax_regression(), data(5, 1), data(7, 2)
    perturbation = mirrored(module, one_step("learn", 0.1), queries)
    weight, bias = module.weight.detach(), module.bias.detach()
    residual = (queries[0] @ weight.T + bias).softmax(1) - functional.one_hot(queries[1], 3)
    new_weight = weight - 0.1 * residual.T @ queries[0] / 5
    new_bias = bias - 0.1 * residual.mean(0)
    torch.testing.assert_close(perturbation.tensors["weight"], new_weight, rtol=1e-12, atol=1e-14)
    expected = -(rows[0] @ new_weight.T + new_bias).log_softmax(1)
    expected = expected[torch.arange(7), rows[1]]
    before = -(rows[0] @ weight.T + bias).log_softmax(1)[torch.arange(7), rows[1]]
    torch.testing.assert_close(
        loss_change(module, perturbation, rows), expected - before, rtol=1e-9, atol=1e-12
    )


def test_a_small_step_matches_the_gradient_product_in_size_and_sign() -> None:
    # First order: learning moves a row's loss by -learning_rate * <row gradient, query gradient>.
    module, queries, rows = softmax_regression(), data(5, 1), data(7, 2)
    rate = 1e-6
    changes = {
        direction: loss_change(module, mirrored(module, one_step(direction, rate), queries), rows)
        for direction in ("learn", "unlearn")
    }

    def gradient(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = TASK.losses(module(inputs), labels).mean()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, module.parameters())])

    query_gradient = gradient(*queries)
    products = torch.stack(
        [gradient(rows[0][i : i + 1], rows[1][i : i + 1]) @ query_gradient for i in range(7)]
    )
    torch.testing.assert_close(changes["learn"] / rate, -products, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(changes["unlearn"] / rate, products, rtol=1e-4, atol=1e-6)


def test_the_step_follows_the_gradient_seen_by_finite_differences() -> None:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    queries = data(5, 1)
    perturbation = mirrored(module, one_step("learn", 1.0), queries)
    weight = module[0].weight
    step = perturbation.tensors["0.weight"] - weight.detach()
    for row, column in [(0, 0), (2, 3), (5, 1)]:
        losses = []
        for shift in (1e-5, -1e-5):
            with torch.no_grad():
                weight[row, column] += shift
                losses.append(TASK.losses(module(queries[0]), queries[1]).mean().item())
                weight[row, column] -= shift
        slope = (losses[0] - losses[1]) / 2e-5
        assert step[row, column].item() == pytest.approx(-slope, rel=1e-6, abs=1e-9)


def test_learning_a_query_lowers_and_unlearning_raises_the_loss_of_its_copy() -> None:
    module, queries = softmax_regression(), data(1, 4)
    learned = mirrored(module, one_step("learn", 0.1), queries)
    unlearned = mirrored(module, one_step("unlearn", 0.1), queries)
    assert loss_change(module, learned, queries).item() < 0
    assert loss_change(module, unlearned, queries).item() > 0


def test_learning_an_opposing_query_makes_a_row_less_plausible() -> None:
    # The sign that flags rest on: same input, other label => positive mirrored influence.
    module, (inputs, _) = softmax_regression(), data(1, 5)
    query = (inputs, torch.tensor([0]))
    row = (inputs, torch.tensor([2]))
    learned = mirrored(module, one_step("learn", 0.1), query)
    assert loss_change(module, learned, row).item() > 0


def test_the_trained_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 3))
    module = module.double().eval()
    before = copy.deepcopy(module.state_dict())
    settings = FiniteSettings(steps=3, batch_norm="updated", dropout=True, schedule="one cycle")
    mirrored(module, settings, data(8, 1))
    assert not any(part.training for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_one_cycle_of_a_single_step_is_a_step() -> None:
    cycle = FiniteSettings(steps=1, learning_rate=0.1, schedule="one cycle")
    moved = mirrored(softmax_regression(), cycle, data(8, 1))
    plain = mirrored(softmax_regression(), replace(cycle, schedule="constant"), data(8, 1))
    assert torch.equal(moved.tensors["weight"], plain.tensors["weight"])


def test_batch_norm_statistics_move_only_when_asked_to() -> None:
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)).double().eval()
    frozen = mirrored(module, FiniteSettings(steps=1), data(8, 1))
    updated = mirrored(module, FiniteSettings(steps=1, batch_norm="updated"), data(8, 1))
    assert "0.running_mean" not in frozen.tensors
    assert "0.running_mean" in updated.tensors


def test_frozen_parameters_and_earlier_layers_stay() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)).double().eval()
    last = mirrored(module, FiniteSettings(steps=1, parameters="last"), data(8, 1))
    assert set(last.tensors) == {"1.weight", "1.bias"}
    module[1].weight.requires_grad_(False)
    trainable = mirrored(module, FiniteSettings(steps=1), data(8, 1))
    assert set(trainable.tensors) == {"0.weight", "0.bias", "1.bias"}


def test_dropout_follows_the_seed_and_leaves_the_global_one_alone() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)).double()

    def weight(seed: int) -> torch.Tensor:
        settings = FiniteSettings(steps=5, dropout=True, seed=seed)
        return mirrored(module, settings, data(8, 1)).tensors["1.weight"]

    before = torch.get_rng_state()
    assert torch.equal(weight(0), weight(0))
    assert not torch.equal(weight(0), weight(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_every_query_weighs_the_same_in_whatever_part_it_stands() -> None:
    module, (inputs, labels) = softmax_regression(), data(9, 1)
    whole = mirrored(module, one_step("learn", 0.1), (inputs, labels))
    split = mirrored(
        module, one_step("learn", 0.1), (inputs[:2], labels[:2]), (inputs[2:], labels[2:])
    )
    torch.testing.assert_close(whole.tensors["weight"], split.tensors["weight"], rtol=1e-12, atol=0)


def test_parts_of_different_shapes_are_run_apart() -> None:
    class MeanOverTime(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3).double()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.linear(inputs.mean(dim=1))

    module, (inputs, labels) = MeanOverTime(), data(6, 1)
    short, long = inputs[:2, None], inputs[2:, None].repeat(1, 3, 1)
    same = mirrored(module, one_step("learn", 0.1), (inputs[:, None], labels))
    apart = mirrored(module, one_step("learn", 0.1), (short, labels[:2]), (long, labels[2:]))
    torch.testing.assert_close(apart.tensors["linear.weight"], same.tensors["linear.weight"])


def test_the_running_mean_lies_between_start_and_end() -> None:
    module, queries = softmax_regression(), data(8, 1)
    last = mirrored(module, FiniteSettings(steps=30, learning_rate=0.05), queries)
    mean = mirrored(module, FiniteSettings(steps=30, learning_rate=0.05, average=0.9), queries)

    def distance(perturbation: Perturbation) -> float:
        return float((perturbation.tensors["weight"] - module.weight.detach()).norm())

    assert 0.3 * distance(last) < distance(mean) < 0.98 * distance(last)


def test_tied_weights_move_together() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False).double()
            self.second = nn.Linear(4, 4, bias=False).double()
            self.second.weight = self.first.weight

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(inputs).tanh())

    module, queries = Tied().eval(), data(8, 1)
    task = Classification(classes=4)
    perturbation = mirrored(module, one_step("learn", 0.5), queries, task=task)
    by_hand = copy.deepcopy(module)
    loss = task.losses(by_hand(queries[0]), queries[1]).mean()
    (gradient,) = torch.autograd.grad(loss, [by_hand.first.weight])
    with torch.no_grad():
        by_hand.first.weight -= 0.5 * gradient
        expected = by_hand(queries[0])
        found = perturbation.copy_of(module)(queries[0])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)

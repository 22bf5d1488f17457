"""Muon: directions orthogonalized, and only where it is meant for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dataaudit.mirror.finite import FiniteSettings, finite_mirror
from dataaudit.mirror.muon import Muon, hidden_matrices, orthogonalized
from dataaudit.tasks import Classification


@pytest.mark.parametrize("shape", [(6, 40), (12, 12), (40, 6), (1, 9)])
def test_orthogonalized_keeps_the_singular_vectors_and_levels_the_values(
    shape: tuple[int, int],
) -> None:
    generator = torch.Generator().manual_seed(0)
    rank = min(shape)
    left = torch.linalg.qr(torch.randn(shape[0], rank, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(shape[1], rank, generator=generator))[0]
    values = torch.logspace(0, -1, rank)  # From 1 to a tenth.
    found = left.T @ orthogonalized(left @ torch.diag(values) @ right.T) @ right
    assert found.diagonal().min() > 0.66
    assert found.diagonal().max() < 1.15
    torch.testing.assert_close(found, torch.diag(found.diagonal()), atol=1e-4, rtol=0)


def test_a_gradient_of_nothing_moves_nothing() -> None:
    assert not orthogonalized(torch.zeros(3, 5)).any()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon since 2.9")
@pytest.mark.parametrize("shape", [(8, 24), (24, 8)])
def test_steps_are_those_of_torch(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(shape, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = [Muon([ours], lr=0.1), torch.optim.Muon([theirs], lr=0.1, weight_decay=0.01)]
    for _ in range(4):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (theirs - start).norm()
    # Torch's are taken in bfloat16, and its coefficients make much of a small difference.
    assert (ours - theirs).norm() < 0.05 * moved


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_a_matrix_with_a_row_for_each_output(layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(2)
    values, gradient = torch.randn(2, 5, 3, 3, 3, generator=generator)
    kernel = nn.Parameter(values.clone(memory_format=layout))
    matrix = nn.Parameter(values.flatten(1).clone())
    kernel.grad, matrix.grad = gradient.clone(memory_format=layout), gradient.flatten(1).clone()
    for parameter in (kernel, matrix):
        Muon([parameter], lr=0.1).step()
    torch.testing.assert_close(kernel.flatten(1), matrix)
    assert not torch.equal(kernel, values)


def test_it_takes_hidden_matrices_alone() -> None:
    module = nn.ModuleDict(
        {
            "words": nn.Embedding(9, 4),
            "filter": nn.Conv1d(4, 4, 3),
            "norm": nn.LayerNorm(4),
            "hidden": nn.Linear(4, 4),
            "last": nn.Linear(4, 2),
        }
    )
    found = hidden_matrices(module, dict(module.named_parameters()))
    assert [id(value) for value in found] == [
        id(module["filter"].weight),
        id(module["hidden"].weight),
    ]


def test_without_hidden_matrices_all_is_adam() -> None:
    torch.manual_seed(0)
    module = nn.Linear(4, 3)
    part = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    muon, adam = (
        finite_mirror(
            module,
            Classification(3),
            iter([[part]] * 5),
            FiniteSettings(steps=5, optimizer=optimizer, schedule="one cycle"),
        )
        for optimizer in ("muon", "adamw")
    )
    for name, value in adam.tensors.items():
        assert torch.equal(value, muon.tensors[name])


def test_both_optimizers_go_through_the_cycle() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    part = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])

    def learned(rate: float, steps: int = 20) -> dict[str, torch.Tensor]:
        settings = FiniteSettings(
            steps=steps, learning_rate=rate, optimizer="muon", schedule="one cycle"
        )
        found = finite_mirror(module, Classification(3), iter([[part]] * steps), settings)
        return dict(found.tensors)

    before = {name: value.detach() for name, value in module.named_parameters()}
    slow, fast = learned(1e-4), learned(1e-3)
    for name, value in before.items():
        # The first steps are those of the sign of the gradient, or nearly.
        ratio = float((fast[name] - value).norm() / (slow[name] - value).norm())
        assert 3 < ratio < 12, name
    with torch.no_grad():
        outputs = torch.func.functional_call(module, learned(1e-2, steps=100), part[0])
    assert nn.functional.cross_entropy(outputs, part[1]) < 0.1

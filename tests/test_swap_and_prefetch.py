"""What the forward passes stand on: values swapped in place, and items made ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from dataaudit.scoring.perturbation import Perturbation
from dataaudit.scoring.prefetch import prefetched
from dataaudit.scoring.swap import Swapper


def network() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 4))
    module[3].weight = module[2].weight
    return module.eval()


def values(module: nn.Module) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    named = [*module.named_parameters(), *module.named_buffers()]
    return {
        name: value + torch.rand(value.shape, generator=generator)
        for name, value in named
        if value.is_floating_point()
    }


def test_a_swapped_module_is_the_perturbed_one_and_comes_back() -> None:
    module, inputs = network(), torch.randn(5, 3)
    before, moved = module(inputs), values(module)
    expected = Perturbation(moved).copy_of(module)(inputs)
    with torch.inference_mode(), Swapper(module).holding(moved):
        torch.testing.assert_close(module(inputs), expected)
    assert torch.equal(module(inputs), before)
    assert all(value.requires_grad for value in module.parameters())


def test_a_swapped_module_comes_back_when_it_fails() -> None:
    module, inputs = network(), torch.randn(5, 3)
    before = module(inputs)
    with pytest.raises(RuntimeError), Swapper(module).holding(values(module)):
        module(torch.randn(5, 9))
    assert torch.equal(module(inputs), before)
    with pytest.raises(KeyError), Swapper(module).holding({**values(module), "none": inputs}):
        pass
    assert torch.equal(module(inputs), before)


def test_tied_values_given_under_both_names_come_back() -> None:
    module, inputs = network(), torch.randn(5, 3)
    before, other = module(inputs), torch.ones(4, 4)
    with Swapper(module).holding({"2.weight": other, "3.weight": other}):
        assert torch.equal(module[3].weight, other)
    assert torch.equal(module(inputs), before)


def test_items_come_in_order_and_no_more_are_made_than_may_wait() -> None:
    made: list[int] = []
    gate = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 3:
                gate.set()
            yield number

    found = prefetched(items(), ahead=2)
    assert next(found) == 0
    # One is being used, two wait, and one more is made but finds no place.
    assert gate.wait(timeout=5)
    assert max(made) == 3
    assert list(found) == list(range(1, 10))


def test_an_error_comes_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second item")

    found = prefetched(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second item"):
        next(found)


def test_whoever_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    found = prefetched(iter(range(1000)))
    next(found)
    found.close()
    assert threading.active_count() == before

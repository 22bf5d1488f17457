"""What the forward passes stand on: values swapped in place, and items made ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from dataaudit.scoring.perturbation import Perturbation
from dataaudit.scoring.prefetch import made_ahead, prefetched
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


@pytest.mark.parametrize("workers", [1, 3])
def test_items_are_made_in_order_by_any_number_of_workers(workers: int) -> None:
    generator = torch.Generator().manual_seed(0)
    waits = torch.rand(40, generator=generator).mul(0.01).tolist()

    def make(item: int) -> int:
        threading.Event().wait(waits[item])
        return item**2

    assert list(made_ahead(make, range(40), workers)) == [(n, n**2) for n in range(40)]


@pytest.mark.parametrize("workers", [1, 3])
def test_what_cannot_be_made_is_said_in_its_place(workers: int) -> None:
    def make(item: int) -> float:
        return 1 / (5 - item)

    made = made_ahead(make, range(40), workers)
    assert [item for item, _ in (next(made) for _ in range(5))] == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        next(made)


@pytest.mark.parametrize("workers", [1, 3])
def test_no_thread_is_left_when_nobody_wants_more(workers: int) -> None:
    made = made_ahead(lambda item: item, iter(range(10**9)), workers)
    assert next(made) == (0, 0)
    made.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if "prefetch" in thread.name]

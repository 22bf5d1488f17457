"""Training for the mislabel benchmark: counted, seeded and cached."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mislabel_settings import Problem, Training
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

SAMPLES_PER_FORWARD = 500


@dataclass
class Cost:
    """Forward-pass equivalents (training on a sample counts three) and seconds."""

    forward_passes: float = 0.0
    seconds: float = 0.0


class Meter:
    """Counts what modules do while it is open.

    A module that it is attached to counts, and so does each copy of it: copies keep the hook.
    """

    def __init__(self) -> None:
        self.cost = Cost()
        self._handles: list[Any] = []

    def attach(self, module: nn.Module) -> None:
        cost = self.cost

        def count(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
            cost.forward_passes += len(output) * (3 if torch.is_grad_enabled() else 1)

        self._handles.append(module.register_forward_hook(count))

    def already(self, cost: Cost) -> None:
        """Add what was spent in an earlier run."""
        self.cost.forward_passes += cost.forward_passes
        self._start -= cost.seconds

    def elapsed(self) -> float:
        return time.perf_counter() - self._start

    def __enter__(self) -> Meter:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.cost.seconds = self.elapsed()
        for handle in self._handles:
            handle.remove()


def train(
    training: Training, inputs: Tensor, labels: Tensor, seed: int, meter: Meter | None = None
) -> nn.Module:
    """Train a model from scratch: AdamW, one cycle, the whole schedule."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = training.make()
        if meter is not None:
            meter.attach(module)
        steps = training.epochs * -(-len(inputs) // training.batch_size)
        optimizer = torch.optim.AdamW(
            module.parameters(), training.learning_rate, weight_decay=training.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, training.learning_rate, total_steps=steps
        )
        module.train()
        for _ in range(training.epochs):
            for chosen in torch.randperm(len(inputs)).split(training.batch_size):
                batch = shifted_and_flipped(inputs[chosen]) if training.augment else inputs[chosen]
                loss = functional.cross_entropy(module(batch), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return module.eval()


def shifted_and_flipped(images: Tensor, pixels: int = 3) -> Tensor:
    """Move each image by up to some pixels and mirror every other one, at random."""
    count, _, height, width = images.shape
    flipped = torch.where((torch.rand(count) < 0.5)[:, None, None, None], images.flip(3), images)
    padded = functional.pad(flipped, (pixels,) * 4, mode="reflect").permute(0, 2, 3, 1)
    down, right = torch.randint(0, 2 * pixels + 1, (2, count))
    lines, columns = down[:, None] + torch.arange(height), right[:, None] + torch.arange(width)
    picture = torch.arange(count)[:, None, None]
    return padded[picture, lines[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def predict(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return probabilities, `[n, C]`, float64."""
    parts = [module(batch).double().softmax(dim=1) for batch in inputs.split(SAMPLES_PER_FORWARD)]
    return torch.cat(parts)


def trained_model(problem: Problem, cache: Path) -> nn.Module:
    """Return the setting's trained model, from the cache where it is there."""
    assert problem.training is not None
    path = cache / f"{problem.setting.model_name}-seed{problem.seed}.safetensors"
    if path.exists():
        module = problem.training.make()
        module.load_state_dict(load_file(path))
        return module.eval()
    labels = torch.tensor(problem.labels)
    with Meter() as meter:
        module = train(problem.training, problem.inputs, labels, problem.seed, meter)
    described = {
        "train_accuracy": _accuracy(module, problem.inputs, labels),
        "test_accuracy": _accuracy(module, *problem.evaluated),
        "forward_passes": meter.cost.forward_passes,
        "seconds": meter.cost.seconds,
    }
    path.with_suffix(".json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    tensors = {name: value.contiguous() for name, value in module.state_dict().items()}
    replaced(path, lambda target: save_file(tensors, target))
    return module


def _accuracy(module: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    return float((predict(module, inputs).argmax(dim=1) == labels).double().mean())


def replaced(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that an interrupted run leaves none that looks finished."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    write(temporary)
    temporary.replace(path)

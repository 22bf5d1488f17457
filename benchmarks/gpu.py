"""Does the audit use a GPU well, and say the same there as on a CPU? One run, under 8 minutes.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --tiny

The second only shows that the script runs. Models have random weights: a ResNet-50 at 224 x 224,
and a transformer of 108 million parameters on 64 tokens. Rows are picked from a pool in memory, so
that what is measured is the way from there through the model. A bare pass runs the same batches,
made ahead by the same thread, through the model and does no more; a plain loop learns the same
batches with AdamW. Shares are of rows a second, by a clock, the median of three, each in float32
and, where the rows are scored, under autocast to bfloat16. Learning is timed at 64 samples a step,
as audits take, and at 256: what a rule for larger batches could gain. The search for leaks takes
all cores of the machine and no GPU.
"""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dataaudit.config import config_from_python
from dataaudit.inputs import Loaded
from dataaudit.likeness.descriptors import ImageDescriptors
from dataaudit.likeness.images import ImageRows
from dataaudit.likeness.matching import Matcher
from dataaudit.mirror.finite import FiniteSettings, finite_mirror
from dataaudit.mirror.queries import Pool, endless_batches
from dataaudit.models.numerics import Numerics, Precision
from dataaudit.models.trained import forward
from dataaudit.scoring.local import LocalEngine, joined
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.scoring.prefetch import prefetched
from dataaudit.stages.loading import load_objects

CLASSES, POOL, COLUMNS = 10, 256, 20
REPEATS = 3
SCORING, LEARNING = 0.85, 0.70
"""Least shares of the rows a second of a bare pass, and of a plain loop."""
LEAK_MINUTES = 5.0


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    side: int
    stages: tuple[int, ...]
    width: int
    layers: int
    rows: int
    batch_size: int
    steps: int
    pictures: int
    suspects: int


FULL = Size(224, (3, 4, 6, 3), 768, 12, 4096, 128, 40, 1_000_000, 5000)
TINY = Size(32, (1, 1), 32, 2, 64, 16, 3, 2000, 50)


@dataclass(frozen=True)
class Line:
    """One result; `least` or `most` is its bound, where it has one."""

    name: str
    found: float
    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        """Return a line of a table in Markdown."""
        bound, met = "", ""
        if self.least is not None:
            bound, met = f"at least {self.least:g}", "yes" if self.found >= self.least else "no"
        if self.most is not None:
            bound, met = f"at most {self.most:g}", "yes" if self.found <= self.most else "no"
        return f"| {self.name} | {self.found:.3g} | {bound} | {met} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU does in a minute")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("torch sees no GPU; --device cpu --tiny shows that the script runs")
    print("| what | found | bound | met |\n|---|---|---|---|")
    for found in lines(options.device, TINY if options.tiny else FULL):
        print(found, flush=True)


def lines(device: str, size: Size) -> Iterator[Line]:
    """Yield all results."""
    yield from equivalence(device)
    for name, model in (("ResNet-50", resnet), ("transformer", transformer)):
        yield from throughput(name, *model(size), device, size)
    yield leak_search(size)


def equivalence(device: str) -> Iterator[Line]:
    """Hold what learns again and what it scores on the device against the CPU."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(COLUMNS, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    pool = torch.randn(POOL, COLUMNS)
    settings = FiniteSettings(steps=50, learning_rate=1e-3, average=0.8)
    learned, losses = {}, {}
    for place in ("cpu", device):
        loaded = placed(module, pool, place, POOL)
        again = _learned(loaded, settings, 64)
        learned[place] = torch.cat([value.cpu().ravel() for value in again.tensors.values()])
        blocks = LocalEngine(64).score(loaded.model, loaded.task, loaded.train, [again])
        losses[place] = joined(list(blocks)).losses
    apart = (learned[device] - learned["cpu"]).norm() / learned["cpu"].norm()
    yield Line("learned parameters, relative difference to the CPU", float(apart), most=1e-2)
    differences = np.abs(losses[device] - losses["cpu"]) / (1 + np.abs(losses["cpu"]))
    yield Line("losses, largest difference to the CPU", float(differences.max()), most=1e-2)


def placed(module: nn.Module, pool: Tensor, device: str, rows: int) -> Loaded:
    """Return rows that each have a place in the pool, and the model on the device."""
    frame = pd.DataFrame({"place": np.arange(rows) % POOL, "label": np.arange(rows) % CLASSES})
    return load_objects(
        copy.deepcopy(module).eval(),
        {"train": frame},
        lambda some: pool[torch.from_numpy(some["place"].to_numpy().copy())],
        config_from_python("label", None, {"classes": list(range(CLASSES)), "device": device}),
    )


def throughput(
    name: str, module: nn.Module, pool: Tensor, device: str, size: Size
) -> Iterator[Line]:
    """Measure scoring and learning against loops that do nothing else."""
    loaded = placed(module, pool, device, size.rows)
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        numerics = Numerics(precision)
        bare = _seconds(functools.partial(_bare, loaded, numerics, size.batch_size))
        engine = LocalEngine(size.batch_size, numerics)
        ours = _seconds(
            lambda engine=engine: list(engine.score(loaded.model, loaded.task, loaded.train, []))
        )
        yield Line(f"{name}, {precision}: scoring, share of bare", bare / ours, SCORING)
        yield Line(f"{name}, {precision}: rows a second, bare", size.rows / bare)
    settings = FiniteSettings(steps=size.steps, learning_rate=1e-5, average=0.8)
    for batch_size in (64, 256):
        plain = _seconds(functools.partial(_plain_loop, loaded, size.steps, batch_size))
        ours = _seconds(functools.partial(_learned, loaded, settings, batch_size))
        least = LEARNING if batch_size == 64 else None
        yield Line(f"{name}: learning {batch_size} a step, share of plain", plain / ours, least)
        rows = size.steps * batch_size
        yield Line(f"{name}: learning {batch_size} a step, rows a second", rows / ours)


def _seconds(work: Callable[[], object]) -> float:
    found = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


@torch.inference_mode()
def _bare(loaded: Loaded, numerics: Numerics, batch_size: int) -> None:
    rows, model = loaded.train, loaded.model
    made = (model.inputs(batch, rows) for batch in rows.batches(batch_size))
    with numerics.autocast(model.device):
        for inputs in prefetched(made):
            forward(model.module, inputs)


def _plain_loop(loaded: Loaded, steps: int, batch_size: int) -> None:
    module = copy.deepcopy(loaded.model.module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-5)
    batches = prefetched(endless_batches(loaded.model, [Pool.of(loaded.train)], batch_size, 0))
    for _ in range(steps):
        ((inputs, labels),) = next(batches)
        loss = loaded.task.losses(forward(module, inputs), labels).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    batches.close()


def _learned(loaded: Loaded, settings: FiniteSettings, batch_size: int) -> Perturbation:
    batches = prefetched(endless_batches(loaded.model, [Pool.of(loaded.train)], batch_size, 0))
    try:
        return finite_mirror(loaded.model.module, loaded.task, batches, settings, shown=False)
    finally:
        batches.close()


def leak_search(size: Size) -> Line:
    """Measure the minutes that 100,000 suspects would take."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (size.pictures, 8, 8, 3), dtype=np.uint8)
    rows = ImageDescriptors(coarse.repeat(4, axis=1).repeat(4, axis=2))
    sources = generator.choice(size.pictures, size.suspects + 1, replace=False)
    suspects = ImageRows(rows, 3).copies(sources, generator)
    matcher = Matcher(rows)
    started = time.perf_counter()
    matcher.match(suspects.take(np.arange(1)))
    once = time.perf_counter() - started
    started = time.perf_counter()
    found = matcher.match(suspects)
    each = (time.perf_counter() - started) / len(sources)
    assert (found.rows[:, 0] == sources).mean() > 0.9
    minutes = (once + 100_000 * each) / 60
    name = f"100,000 suspects among {size.pictures:,} pictures, minutes"
    return Line(name, minutes, most=LEAK_MINUTES)


class Bottleneck(nn.Module):
    """A block of ResNet-50 (He et al., CVPR 2016)."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = 4 * width
        self.body = nn.Sequential(
            *_convolved(before, width, 1, 1),
            nn.ReLU(),
            *_convolved(width, width, 3, stride),
            nn.ReLU(),
            *_convolved(width, after, 1, 1),
        )
        same = before == after and stride == 1
        self.beside = nn.Sequential(*([] if same else _convolved(before, after, 1, stride)))

    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(self.body(values) + self.beside(values))


def _convolved(before: int, after: int, side: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, side, stride, side // 2, bias=False)
    return [convolution, nn.BatchNorm2d(after)]


def resnet(size: Size) -> tuple[nn.Module, Tensor]:
    """Return a ResNet of `size.stages`, and pictures."""
    torch.manual_seed(0)
    layers = [*_convolved(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for stage, blocks in enumerate(size.stages):
        for block in range(blocks):
            layers.append(Bottleneck(before, 64 * 2**stage, 2 if stage and not block else 1))
            before = 256 * 2**stage
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, CLASSES)]
    return nn.Sequential(*layers), torch.randn(POOL, 3, size.side, size.side)


class Transformer(nn.Module):
    """An encoder on tokens; the mean of its outputs is classified."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(30_000, width)
        layer = nn.TransformerEncoderLayer(
            width, width // 16, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.last = nn.Linear(width, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.last(self.layers(self.words(tokens)).mean(dim=1))


def transformer(size: Size) -> tuple[nn.Module, Tensor]:
    """Return a transformer, and tokens."""
    torch.manual_seed(0)
    return Transformer(size.width, size.layers), torch.randint(30_000, (POOL, 64))


if __name__ == "__main__":
    main()

"""Which training images does a generated one owe most to? Leave them out, train again, and see.

    python benchmarks/diffusion.py --samples 6 --seeds 0

A small diffusion model is trained on the digits of scikit-learn and generates images. For each of
them every recipe names K training rows; without these the model is trained again, and the loss of
the generated image is measured. The more it rises, the more those rows mattered. What was trained
is kept in benchmarks/cache/diffusion.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from diffusion_training import SCHEDULE, Denoiser, digits, features, generate, trained
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from dataaudit.scoring.perturbation import Perturbation
from dataaudit.studies.tracing.denoising import Denoising
from dataaudit.studies.tracing.diffusion import DEFAULTS, DiffusionSettings, ImageUnlearning
from dataaudit.studies.tracing.noise import Draws

SHARES = (0.01, 0.05)
RANDOM_DRAWS = 3
JUDGED_UNDER = 400
"""Draws of noise for the loss of a generated image; none of them is used for tracing."""
FEATURE_TIMESTEP = 300
"""Of 10, 100 and 300, the one whose features ranked rows best in a first study."""
BOOTSTRAPS = 10_000

Scores = NDArray[np.float64]
Recipe = Callable[[Tensor], Scores]
"""From generated images to scores `[rows, images]`, higher = the image owes the row more."""
OURS = "dataaudit: whole Fisher information"


def unlearned(model: Denoiser, images: Tensor, settings: DiffusionSettings) -> Recipe:
    """Score rows by how much their loss rises when an image is unlearned."""
    unlearning = ImageUnlearning.of(model, SCHEDULE, images, settings)
    with torch.inference_mode():
        before = unlearning.denoising.losses(model, images)

    def scores(generated: Tensor) -> Scores:
        changes = []
        for image in generated:
            changed = Perturbation(unlearning.unlearned(image[None])).copy_of(model)
            with torch.inference_mode():
                changes.append(unlearning.denoising.losses(changed, images) - before)
        return torch.stack(changes, 1).numpy()

    return scores


def nearest_features(model: Denoiser, images: Tensor) -> Recipe:
    described = features(model, images, FEATURE_TIMESTEP)
    centre = described.mean(0)

    def scores(generated: Tensor) -> Scores:
        own = features(model, generated, FEATURE_TIMESTEP) - centre
        return (normalize(described - centre) @ normalize(own).T).double().numpy()

    return scores


def recipes(model: Denoiser, images: Tensor) -> dict[str, Recipe]:
    return {
        OURS: unlearned(model, images, DEFAULTS),
        "one step, diagonal Fisher": unlearned(
            model, images, DiffusionSettings(steps=1, damping=0.3, rise=0.05)
        ),
        "bare ascent": unlearned(model, images, DiffusionSettings(penalty=False, rise=0.05)),
        "pixel neighbours": lambda generated: (
            -torch.cdist(images.flatten(1).double(), generated.flatten(1).double()).numpy()
        ),
        "feature neighbours": nearest_features(model, images),
    }


def measure(samples: int, seed: int) -> list[dict[str, object]]:
    """Return one record for each recipe, K and generated image: the rise of its loss."""
    images = digits()
    model = trained(images, seed, np.zeros(0, np.int64))
    generated = generate(model, samples, seed)
    judge = Denoising(SCHEDULE, Draws.of(SCHEDULE, images.shape[1:], JUDGED_UNDER, 10_000 + seed))

    def losses(left_out: NDArray[np.int64], which: Tensor) -> Scores:
        retrained = trained(images, seed, left_out)
        with torch.inference_mode():
            return judge.losses(retrained, which).numpy()

    before = losses(np.zeros(0, np.int64), generated)
    generator = np.random.default_rng(seed)
    records: list[dict[str, object]] = []

    def record(recipe: str, share: float, sample: int, after: float) -> None:
        line = {"recipe": recipe, "share": share, "seed": seed, "sample": sample}
        records.append({**line, "loss": before[sample], "rise": after - before[sample]})

    for share in SHARES:
        count = round(share * len(images))
        for _ in range(RANDOM_DRAWS):
            chosen = generator.choice(len(images), count, replace=False)
            for sample, after in enumerate(losses(chosen, generated)):
                record("random", share, sample, float(after))
    scores = {name: recipe(generated) for name, recipe in recipes(model, images).items()}
    for sample in range(samples):
        for recipe, found in scores.items():
            order = np.argsort(-found[:, sample], kind="stable")
            for share in SHARES:
                after = losses(order[: round(share * len(images))], generated[sample : sample + 1])
                record(recipe, share, sample, float(after[0]))
                rise = float(after[0] / before[sample] - 1)
                print(f"seed {seed} sample {sample} {recipe}, {share:.0%}: {rise:+.2%}", flush=True)
    return records


def table(records: list[dict[str, object]]) -> str:
    """Return the mean rises, their ratios to random, and what ours has more, as Markdown."""
    lines = [
        "| K | recipe | rise of the loss | × random (95 %) | ours less this (95 %) |",
        "|---|---|---|---|---|",
    ]
    generator = np.random.default_rng(0)
    for share in SHARES:
        rises: dict[str, dict[object, list[float]]] = {}
        for line in records:
            if line["share"] == share:
                place = (line["seed"], line["sample"])
                relative = float(line["rise"]) / float(line["loss"])  # type: ignore[arg-type]
                rises.setdefault(str(line["recipe"]), {}).setdefault(place, []).append(relative)
        means = {
            recipe: np.array([np.mean(by_place[place]) for place in sorted(by_place)])
            for recipe, by_place in rises.items()
        }
        count = len(means[OURS])
        draws = generator.integers(count, size=(BOOTSTRAPS, count))
        for recipe, values in means.items():
            ratio = values.mean() / means["random"].mean()
            ratios = values[draws].mean(1) / means["random"][draws].mean(1)
            more = (means[OURS] - values)[draws].mean(1)
            lines.append(
                f"| {share:.0%} | {recipe} | {values.mean():+.2%} "
                f"| {ratio:.1f} ({_interval(ratios, '.1f')}) "
                f"| {(means[OURS] - values).mean():+.2%} ({_interval(more, '+.2%')}) |"
            )
    return "\n".join(lines)


def _interval(values: Scores, form: str) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{low:{form}} to {high:{form}}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=6, help="generated images for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, help="the single rises, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    records = [line for seed in arguments.seeds for line in measure(arguments.samples, seed)]
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(records, indent=1), encoding="utf-8")
    print(table(records))
    print(
        f"{date.today()}, {arguments.samples} generated images each, seeds {arguments.seeds}, "
        f"{time.perf_counter() - start:.0f} s; Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}"
    )


if __name__ == "__main__":
    main()

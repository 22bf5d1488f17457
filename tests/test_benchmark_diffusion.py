"""The diffusion benchmark: its table, and retraining that differs by the rows left out alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_rises_are_relative_to_each_image_and_compared_with_random() -> None:
    import diffusion

    def record(recipe: str, sample: int, loss: float, rise: float) -> dict[str, object]:
        return {"recipe": recipe, "share": 0.01, "seed": 0, "sample": sample,
                "loss": loss, "rise": rise}  # fmt: skip

    records = [
        record("random", 0, 0.1, 0.0005), record("random", 0, 0.1, 0.0015),
        record("random", 1, 0.2, 0.002), record(diffusion.OURS, 0, 0.1, 0.003),
        record(diffusion.OURS, 1, 0.2, 0.006), record("pixels", 0, 0.1, 0.002),
        record("pixels", 1, 0.2, 0.004),
    ]  # fmt: skip
    records += [{**line, "share": 0.05} for line in records]
    lines = diffusion.table(records).splitlines()
    assert lines[2:5] == [
        "| 1% | random | +1.00% | 1.0 (1.0 to 1.0) | +2.00% (+2.00% to +2.00%) |",
        f"| 1% | {diffusion.OURS} | +3.00% | 3.0 (3.0 to 3.0) | +0.00% (+0.00% to +0.00%) |",
        "| 1% | pixels | +2.00% | 2.0 (2.0 to 2.0) | +1.00% (+1.00% to +1.00%) |",
    ]


def test_rows_left_out_have_no_part_in_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusion_training

    monkeypatch.setattr(diffusion_training, "EPOCHS", 2)
    images = diffusion_training.digits()[:60]
    changed = images.clone()
    changed[[3, 5]] = 1.0
    out, none = np.array([3, 5]), np.zeros(0, np.int64)
    first, second, whole = (
        torch.cat([value.flatten() for value in model.parameters()])
        for model in (
            diffusion_training.train(images, 0, out),
            diffusion_training.train(changed, 0, out),
            diffusion_training.train(images, 0, none),
        )
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, whole)

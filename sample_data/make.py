"""Make the sample data: handwritten digits with known faults, and a model trained on them.

The digits are the 1,797 images (8 × 8, 10 classes) that scikit-learn ships: the test set of
"Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI (CC BY 4.0).
Everything is seeded: `python sample_data/make.py` writes the same files again.

Planted faults
- 90 of the 1,100 training rows carry a wrong label: two thirds of them one that people confuse
  the digit with, the rest any other.
- 30 of the 300 suspects are copies of training rows: 10 exact, 10 shifted by one pixel, 10 with
  noise.
The truth stands in `truth_mislabels.csv` and `truth_leaks.csv`, which the audit does not read.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from digits_model import build, preprocess  # noqa: E402

SEED = 2024
TRAIN_ROWS, HELD_OUT_ROWS, SUSPECT_ROWS = 1100, 300, 300
WRONG_LABELS = 90
LEAKS_OF_EACH_KIND = 10
TRAINING_EPOCHS = 40
CONFUSED_WITH = {0: 6, 1: 7, 2: 3, 3: 8, 4: 9, 5: 6, 6: 5, 7: 1, 8: 3, 9: 4}


def main() -> None:
    """Write the three splits, the truth and the model beside this file."""
    generator = np.random.default_rng(SEED)
    digits = load_digits()
    order = generator.permutation(len(digits.target))
    images = digits.images[order].round().astype(np.int64)  # 0 to 16
    labels = digits.target[order]

    train_labels = labels[:TRAIN_ROWS].copy()
    mislabeled = np.sort(generator.choice(TRAIN_ROWS, WRONG_LABELS, replace=False))
    train_labels[mislabeled] = [_wrong(label, generator) for label in train_labels[mislabeled]]
    train = _table(images[:TRAIN_ROWS], train_labels, "row", "row_id")

    held_out = slice(TRAIN_ROWS, TRAIN_ROWS + HELD_OUT_ROWS)
    _table(images[held_out], labels[held_out], "held", "sample_id").to_parquet(
        FOLDER / "held_out.parquet", index=False
    )

    suspects = slice(held_out.stop, held_out.stop + SUSPECT_ROWS)
    suspect_images, suspect_labels = images[suspects].copy(), labels[suspects].copy()
    copies = 3 * LEAKS_OF_EACH_KIND
    places = generator.choice(len(suspect_labels), copies, replace=False)
    clean_rows = np.setdiff1d(np.arange(TRAIN_ROWS), mislabeled)
    rows = generator.choice(clean_rows, copies, replace=False)
    kinds = np.repeat(["exact", "shifted", "noised"], LEAKS_OF_EACH_KIND)
    for place, row, kind in zip(places, rows, kinds, strict=True):
        suspect_images[place] = _copy(images[row], kind, generator)
        suspect_labels[place] = train_labels[row]
    suspect_table = _table(suspect_images, suspect_labels, "query", "query_id")

    train.to_parquet(FOLDER / "train.parquet", index=False)
    suspect_table.to_parquet(FOLDER / "suspects.parquet", index=False)
    pd.DataFrame({"row_id": train["row_id"][mislabeled], "true_label": labels[mislabeled]}).to_csv(
        FOLDER / "truth_mislabels.csv", index=False
    )
    pd.DataFrame(
        {
            "query_id": suspect_table["query_id"].to_numpy()[places],
            "row_id": train["row_id"].to_numpy()[rows],
            "kind": kinds,
        }
    ).sort_values("query_id").to_csv(FOLDER / "truth_leaks.csv", index=False)
    _train_model(train)


def _wrong(label: int, generator: np.random.Generator) -> int:
    if generator.random() < 2 / 3:
        return CONFUSED_WITH[int(label)]
    return int(generator.choice([other for other in range(10) if other != label]))


def _copy(image: NDArray[np.int64], kind: str, generator: np.random.Generator) -> NDArray[np.int64]:
    if kind == "shifted":
        # Towards the emptier side, so that no ink is lost.
        step = 1 if image[:, -1].sum() <= image[:, 0].sum() else -1
        moved = np.roll(image, step, axis=1)
        moved[:, 0 if step == 1 else -1] = 0
        return moved
    if kind == "noised":
        return np.clip(image + generator.integers(-1, 2, image.shape), 0, 16)
    return image


def _table(
    images: NDArray[np.int64], labels: NDArray[np.int64], prefix: str, id_column: str
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            id_column: [f"{prefix}-{number:04d}" for number in range(len(labels))],
            "image": [_png(image) for image in images],
            "label": labels,
        }
    )


def _png(image: NDArray[np.int64]) -> bytes:
    file = io.BytesIO()
    Image.fromarray((image * 255 // 16).astype(np.uint8), mode="L").save(file, "PNG")
    return file.getvalue()


def _train_model(train: pd.DataFrame) -> None:
    torch.manual_seed(SEED)
    module = build().train()
    inputs = preprocess(train)
    targets = torch.tensor(train["label"].to_numpy())
    optimizer = torch.optim.Adam(module.parameters(), lr=2e-3)
    for _ in range(TRAINING_EPOCHS):
        for chosen in torch.randperm(len(targets)).split(50):
            loss = torch.nn.functional.cross_entropy(module(inputs[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    module.eval()
    with torch.inference_mode():
        accuracy = (module(inputs).argmax(dim=1) == targets).float().mean().item()
    print(f"accuracy on the training labels, wrong ones included: {accuracy:.3f}")
    save_file(module.state_dict(), FOLDER / "digits_model.safetensors")


if __name__ == "__main__":
    main()

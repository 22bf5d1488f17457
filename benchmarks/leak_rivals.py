"""Other ways to find leaks; each scores suspects, larger = more likely a copy of a row."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from small_network import features, losses, to_tensor
from torch import nn
from torch.nn.functional import cross_entropy

Array = NDArray[Any]
SUSPECTS_PER_BLOCK = 500


def nearest(
    distance: Callable[[slice], Array], suspects: int, keep: int = 5
) -> tuple[Array, Array]:
    """Return the nearest rows `[suspects, keep]` and minus the distance of the nearest."""
    rows, score = [], []
    for start in range(0, suspects, SUSPECTS_PER_BLOCK):
        block = distance(slice(start, start + SUSPECTS_PER_BLOCK))
        best = np.argsort(block, axis=1, kind="stable")[:, :keep]
        rows.append(best)
        score.append(-np.take_along_axis(block, best[:, :1], axis=1)[:, 0])
    return np.concatenate(rows), np.concatenate(score)


def euclidean(left: Array, right: Array) -> tuple[Array, Array]:
    square = (right**2).sum(axis=1)
    return nearest(
        lambda part: (left[part] ** 2).sum(axis=1)[:, None] + square - 2 * left[part] @ right.T,
        len(left),
    )


def pixel_distance(suspects: Array, rows: Array) -> tuple[Array, Array]:
    left, right = (a.reshape(len(a), -1).astype(np.float32) / 255 for a in (suspects, rows))
    return euclidean(left, right)


def perceptual_hash(suspects: Array, rows: Array, method: str) -> tuple[Array, Array]:
    """Hamming distance of imagehash's `phash` or `dhash`, 64 bits."""
    import imagehash

    function = getattr(imagehash, method)
    left, right = (
        np.stack([function(Image.fromarray(i)).hash.ravel() for i in a]).astype(np.float32) * 2 - 1
        for a in (suspects, rows)
    )
    return nearest(lambda part: (left.shape[1] - left[part] @ right.T) / 2, len(left))


def feature_cosine(model: nn.Sequential, suspects: Array, rows: Array) -> tuple[Array, Array]:
    left, right = features(model, suspects), features(model, rows)
    return nearest(lambda part: 1 - left[part] @ right.T, len(left))


def datalab(left: Array, right: Array) -> Array:
    """cleanlab's `near_duplicate` over suspects and rows together: `[suspects]` score."""
    from cleanlab import Datalab

    together = np.concatenate([left, right])
    lab = Datalab({"index": np.arange(len(together))}, verbosity=0)
    lab.find_issues(features=together, issue_types={"near_duplicate": {}})
    issues = lab.get_issues("near_duplicate").iloc[: len(left)]
    return -issues["distance_to_nearest_neighbor"].to_numpy(float)


def published_recipe(
    model: nn.Sequential,
    suspects: tuple[Array, Array],
    rows: tuple[Array, Array],
    chosen: Array,
    pool: Array,
) -> Array:
    """Order the rows of `pool` for each chosen suspect by absolute loss change, largest first.

    One ascending Adam step of 5e-3 on the suspect in train mode, as in the code published with Ko
    et al., CVPR 2024; suspects and rows are (images, labels).
    """
    x, y = to_tensor(rows[0][pool]), torch.from_numpy(rows[1][pool].copy())
    before = losses(model.eval(), x, y)
    orders = []
    for position in chosen:
        moved = copy.deepcopy(model).train()
        optimizer = torch.optim.Adam(moved.parameters(), 5e-3)
        label = torch.tensor([int(suspects[1][position])])
        (-cross_entropy(moved(to_tensor(suspects[0][[position]])), label)).backward()
        optimizer.step()
        change = (losses(moved.eval(), x, y) - before).abs()
        orders.append(torch.argsort(change, descending=True, stable=True).numpy())
    return pool[np.array(orders)]


def min_hash(suspects: list[str], rows: list[str]) -> Array:
    """Largest estimated Jaccard similarity of 5-character shingles, 128 permutations."""
    from datasketch import MinHash

    def signature(text: str) -> Array:
        hashed = MinHash(num_perm=128, seed=1)
        folded = " ".join(text.lower().split())
        shingles = [folded[i : i + 5].encode() for i in range(max(len(folded) - 4, 1))]
        hashed.update_batch(shingles)
        return hashed.hashvalues

    left, right = (np.stack([signature(text) for text in a]) for a in (suspects, rows))
    return np.array([(right == one).mean(axis=1).max() for one in left])


def text_vectors(suspects: list[str], rows: list[str]) -> tuple[Array, Array]:
    """TF-IDF reduced to 100 numbers, for rivals that want features."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    sparse = TfidfVectorizer().fit_transform([*suspects, *rows])
    dense = TruncatedSVD(100, random_state=0).fit_transform(sparse)
    return dense[: len(suspects)], dense[len(suspects) :]


def table_vectors(suspects: pd.DataFrame, rows: pd.DataFrame) -> tuple[Array, Array]:
    """One-hot columns, standardized."""
    together = pd.get_dummies(pd.concat([suspects, rows], ignore_index=True), dtype=np.float32)
    values = together.to_numpy(np.float32)
    values = (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-6)
    return values[: len(suspects)], values[len(suspects) :]

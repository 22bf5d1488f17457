"""Mislabel flags (first version)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.flags.results import Interval, MislabelFlags


def flag_mislabels(
    given_labels: NDArray,
    base_probabilities: NDArray,
    mirrored_probabilities: NDArray,
    held_out_labels,
    held_out_base_probabilities,
    held_out_mirrored_probabilities,
    classes,
    row_ids,
    target_precision: float = 0.5,
    budget: int | None = None,
) -> MislabelFlags:
    n, c = base_probabilities.shape
    p = np.clip(mirrored_probabilities.astype(float), 1e-9, 1)
    noise = np.full((c, c), 0.1 / (c - 1))
    np.fill_diagonal(noise, 0.9)
    for _ in range(50):
        q = p * noise[:, given_labels].T
        q /= q.sum(1, keepdims=True)
        counts = np.full((c, c), 0.01)
        for k in range(c):
            counts[:, k] += q[given_labels == k].sum(0)
        noise = counts / counts.sum(1, keepdims=True)
    rows = np.arange(n)
    wrong = 1 - q[rows, given_labels]
    other = q.copy()
    other[rows, given_labels] = -1
    suggested = other.argmax(1)
    order = np.argsort(-wrong, kind="stable")
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(1, n + 1)
    flagged = wrong >= target_precision if budget is None else rank <= budget
    names = np.array(classes)
    table = pd.DataFrame(
        {
            "row_id": row_ids,
            "given_label": names[given_labels],
            "suggested_label": names[suggested],
            "score": wrong,
            "probability": wrong,
            "flagged": flagged,
            "rank": rank,
        }
    )
    signals = pd.DataFrame(
        {
            "mirrored_influence": -np.log(p[rows, given_labels])
            + np.log(np.clip(base_probabilities[rows, given_labels], 1e-9, 1)),
            "loss": -np.log(np.clip(base_probabilities[rows, given_labels], 1e-9, 1)),
        }
    )
    budgets = np.unique(np.geomspace(1, n, 30).astype(int))
    found = np.cumsum(wrong[order])[budgets - 1]
    per_class = [
        {
            "class": str(names[k]),
            "rows": int((given_labels == k).sum()),
            "flagged": int(flagged[given_labels == k].sum()),
            "noise_rate": float(wrong[given_labels == k].mean()) if (given_labels == k).any() else 0.0,
            "low": 0.0,
            "high": 1.0,
        }
        for k in range(c)
    ]
    matrix = np.zeros((c, c))
    for k in range(c):
        matrix[k] = q[given_labels == k].sum(0)
    return MislabelFlags(
        table,
        signals,
        Interval(float(wrong.mean()), 0.0, 1.0),
        pd.DataFrame(per_class),
        pd.DataFrame(matrix, index=[str(x) for x in names], columns=[str(x) for x in names]),
        pd.DataFrame({"budget": budgets, "expected_found": found, "expected_precision": found / budgets}),
        target_precision,
        "first version",
    )

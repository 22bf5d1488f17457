"""Crosswise fits of the calibration benchmark's cells, kept on disk.

Fits take most of the time; what is made of them takes seconds and changes more often.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from calibration_cells import Cell, make_problem
from numpy.typing import NDArray

from dataaudit.flags.inputs import Unseen, View
from dataaudit.models.distillation import probabilities
from dataaudit.models.estimator import Estimator
from dataaudit.stages.crosswise import LabelledInputs, judged_crosswise, with_plain_views

NONE_TRUSTED = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Fits:
    """What was seen of a cell's samples, and the truth.

    Attributes
    ----------
    given, right : int64 `[rows]`
    unseen : Unseen
    five_folds : float32 `[rows, C]`
        Of models fitted to other rows alone.
    """

    given: NDArray[np.int64]
    right: NDArray[np.int64]
    unseen: Unseen
    five_folds: NDArray[np.float32]


def fits_of(cell: Cell, rows: int, data: Path, cache: Path) -> Fits:
    """Return a cell's fits, from the cache where they are there."""
    path = cache / "fits" / f"{cell.name.replace('/', '-')}-{rows}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **_fitted(cell, rows, data))
        part.rename(path)
    with np.load(path) as table:
        views = [
            View(name, table[f"rows_{place}"], table[f"trusted_{place}"], alone=bool(alone))
            for place, (name, alone) in enumerate(zip(table["names"], table["alone"], strict=True))
        ]
        unseen = Unseen(views, table["trusted_labels"])
        return Fits(table["given"], table["right"], unseen, table["five_folds"])


def _fitted(cell: Cell, rows: int, data: Path) -> dict[str, Any]:
    problem = make_problem(cell, rows, data)
    fitted = problem.model.fit(problem.rows, problem.given)
    estimator = Estimator(fitted, lambda frame: frame, probabilities)
    trusted = problem.trusted if cell.trusted else None
    inputs = LabelledInputs(problem.rows, problem.given, trusted, problem.trusted_labels)
    found = judged_crosswise(estimator, inputs, cell.seed)
    found = with_plain_views(found, estimator, inputs, cell.seed)
    rows_alone = LabelledInputs(problem.rows, problem.given, None, NONE_TRUSTED)
    alone = judged_crosswise(estimator, rows_alone, cell.seed)
    return {
        "given": problem.given,
        "right": problem.right,
        "trusted_labels": problem.trusted_labels,
        "names": [view.name for view in found.views],
        "alone": [view.alone for view in found.views],
        "five_folds": alone.views[0].rows,
        **{f"rows_{place}": view.rows for place, view in enumerate(found.views)},
        **{f"trusted_{place}": view.trusted for place, view in enumerate(found.views)},
    }

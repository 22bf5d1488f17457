"""Ordinal classification: one of several grades for each row, and the grades have an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.tasks.classification import Classification
from dataaudit.tasks.task import Predictions


@dataclass(frozen=True)
class OrdinalClassification(Classification):
    """One of C grades for each row, their indices in order; outputs and losses as for classes."""

    metric_name = "closeness of grades"

    def metric(self, predictions: Predictions, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Return 1 minus the steps from the most probable grade to the label, `[rows]`, 0 to 1.

        In units of the steps between the lowest and the highest grade.
        """
        steps = np.abs(predictions.argmax(axis=1) - labels)
        return np.asarray(1 - steps / (self.classes - 1), dtype=np.float64)

"""What a review of so many rows is expected to find, between the budgets that were worked out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataaudit.report.data import BudgetPoint


def expected_found(points: Sequence[BudgetPoint], budget: int) -> float:
    """Return how many wrong labels the first `budget` rows are expected to hold."""
    return float(
        np.interp(
            budget,
            [0, *(point.budget for point in points)],
            [0, *(point.expected_found for point in points)],
        )
    )


def rows_to_find(points: Sequence[BudgetPoint], found: float) -> float:
    """Return how many rows, most suspicious first, are expected to hold `found` wrong labels."""
    return float(
        np.interp(
            found,
            [0, *(point.expected_found for point in points)],
            [0, *(point.budget for point in points)],
        )
    )

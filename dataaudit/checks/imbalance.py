"""Classes that have far fewer rows than others."""

from __future__ import annotations

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.examined import Examined
from dataaudit.report import formats

RARE = 0.1
"""A class with a smaller share of what an even share would be is rare; as cleanlab's Datalab."""
FEW_ROWS = 5
"""Fewer rows than these teach and test nothing, however many classes there are."""


class Imbalance(Check):
    """Compares each class's rows with an even share of the training rows."""

    name = "imbalance"
    title = "Rare classes"
    needs = frozenset({"labels"})

    def look(self, data: Examined) -> Found:
        """Count the rows of each class."""
        train = data.train
        if not train.kind.has_classes:
            return Found("The labels are numbers; no class can be rare.")
        labels = train.labels[train.kind.usable(train.labels, train.classes)]
        counts = train.kind.counts(labels, train.classes, labels)
        even = sum(rows for _, rows in counts) / max(len(counts), 1)
        issues = [
            Issue(
                f"{formats.rows(rows)} of class {name}; an even share would be "
                f"{formats.count(even)}",
                "train",
                even / max(rows, 0.5),
                column=train.label_column,
            )
            for name, rows in counts
            if rows < max(RARE * even, FEW_ROWS)
        ]
        if not issues:
            return Found(
                "No class has less than a tenth of an even share of the training rows, or fewer "
                f"than {FEW_ROWS}."
            )
        issues.sort(key=lambda issue: -issue.score)
        return Found(
            f"{formats.rows(len(issues), 'class', 'classes')} "
            f"{'has' if len(issues) == 1 else 'have'} less than a tenth of an even share of the "
            f"rows, or fewer than {FEW_ROWS}. What the model does there is hardly trained, and "
            "hardly measured.",
            issues,
        )

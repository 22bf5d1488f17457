"""Shortcuts: features that predict the label in training rows, but not in trusted samples."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from dataaudit.checks.check import LEVEL, Check, Found, Issue
from dataaudit.checks.examined import Examined
from dataaudit.checks.one_column import OneColumn, every_column, judged
from dataaudit.report import formats

LEAST_DIFFERENCE = 0.1
"""Of the share of errors that a feature saves."""
FEWEST_ROWS = 40


class Shortcuts(Check):
    """Predicts the label by each column alone, fitted on half of the training rows.

    What it saves on the other half is held against what it saves on trusted samples, by a z-test
    with Bonferroni's correction.
    """

    name = "shortcuts"
    title = "Shortcuts: features that help in training only"
    needs = frozenset({"labels", "held_out"})
    serious = True

    def look(self, data: Examined) -> Found:
        """Look at an even choice of training rows and trusted samples."""
        train, trusted = data.columns, data.other_columns["held_out"]
        has_classes = data.train.kind.has_classes
        own = np.random.default_rng(data.seed).permutation(np.flatnonzero(judged(train)))
        others = np.flatnonzero(judged(trusted))
        if min(len(own) // 2, len(others)) < FEWEST_ROWS:
            return Found(
                f"There are fewer than {FEWEST_ROWS} rows with a label on one side.",
                cannot_tell=True,
            )
        first, second = own[: len(own) // 2], own[len(own) // 2 :]
        theirs = dict(every_column(trusted))
        shared = [(name, values) for name, values in every_column(train) if name in theirs]
        if not shared:
            return Found("No column is in training rows and trusted samples.", cannot_tell=True)
        least = float(norm.isf(LEVEL / max(len(shared), 1)))
        issues = []
        for name, values in shared:
            known = OneColumn.fit(values[first], train.labels[first], has_classes=has_classes)
            here, most = known.gain(values[second], train.labels[second])
            there, most_there = known.gain(theirs[name][others], trusted.labels[others])
            skills = here.mean() / max(most, 1e-12), there.mean() / max(most_there, 1e-12)
            spread = np.sqrt(here.var() / len(here) + there.var() / len(there))
            apart = (here.mean() - there.mean()) / max(spread, 1e-12)
            if skills[0] - skills[1] >= LEAST_DIFFERENCE and apart >= least:
                what = (
                    f"saves {formats.percent(skills[0])} of all errors in training, and "
                    f"{formats.percent(max(skills[1], 0.0))} in trusted samples"
                )
                issues.append(Issue(what, "train", float(skills[0] - skills[1]), column=name))
        if not issues:
            return Found("No feature predicts the label in training much better than elsewhere.")
        return Found(
            f"{formats.rows(len(issues), 'feature')} "
            f"{'predicts' if len(issues) == 1 else 'predict'} the label in training and not in "
            "trusted samples. A model that relies on it will fail where it is used.",
            sorted(issues, key=lambda issue: -issue.score),
        )

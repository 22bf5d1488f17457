"""The noise model: probabilities that labels are wrong where nothing was planted to measure on."""

from __future__ import annotations

import numpy as np

from dataaudit.flags.probabilities import (
    Labels,
    Table,
    Values,
    checked_table,
    pick,
    row_blocks,
    softmax,
)

ASSUMED_TEMPERATURE = 0.75
ASSUMED_MEMORY = 0.4
"""Nats. Measured on CIFAR-10N (docs/mislabels.md): a model that learned noisy labels again is
underconfident, and still remembers about so much of each. On other data both differ, which is
why no interval is claimed for what comes out."""
MOST_FITTED = 20_000
"""Rows, evenly spread, that the noise table is fitted to."""
PRIOR_ROWS = 20.0
"""Weight, in rows for each class, of errors that fall on all other classes alike."""


def assumed_log_odds(mirrored: Table, given: Labels) -> Values:
    """Return log odds that each given label is wrong, `[rows]`, under assumed memory.

    Parameters
    ----------
    mirrored : `[rows, C]`
        Probabilities of the model that learned again; read a block at a time.
    given : int64 `[rows]`
    """
    sample = np.linspace(0, len(given) - 1, min(len(given), MOST_FITTED)).astype(np.int64)
    table = fit_noise_table(_as_if_unlearned(mirrored, given, sample), given[sample])
    odds = np.empty(len(given))
    for rows in row_blocks(*mirrored.shape):
        posterior = noise_posterior(_as_if_unlearned(mirrored, given, rows), given[rows], table)
        right = np.clip(pick(posterior, given[rows]), 1e-9, 1 - 1e-9)
        odds[rows] = np.log1p(-right) - np.log(right)
    return odds


def _as_if_unlearned(mirrored: Table, given: Labels, rows: slice | Labels) -> Values:
    logits = np.log(checked_table("mirrored", mirrored[rows])) / ASSUMED_TEMPERATURE
    logits[np.arange(len(logits)), given[rows]] -= ASSUMED_MEMORY
    return softmax(logits)


def fit_noise_table(probabilities: Values, given: Labels, iterations: int = 60) -> Values:
    """Return P(given | true), `[true, given]`, which is drawn towards errors on all classes alike.

    By expectation maximization (Dawid and Skene, Applied Statistics 1979).

    Parameters
    ----------
    probabilities : `[rows, C]`
        Such as rows would get that were not learned; else errors are underestimated.
    given : int64 `[rows]`
    iterations : int
    """
    classes = probabilities.shape[1]
    table = _uniform_errors(0.1, classes)
    for _ in range(iterations):
        posterior = noise_posterior(probabilities, given, table)
        counts = np.stack(
            [posterior[given == label].sum(axis=0) for label in range(classes)], axis=1
        )
        error = float(1 - np.trace(counts) / len(given))
        table = counts + PRIOR_ROWS * _uniform_errors(error, classes)
        table = np.maximum(table / table.sum(axis=1, keepdims=True), 1e-12)
    return table


def noise_posterior(probabilities: Values, given: Labels, table: Values) -> Values:
    """Return the posterior of each row's true class, `[rows, C]`, rows sum to 1.

    Proportional to p(class | row) · P(given | class), the latter from `fit_noise_table`.
    """
    posterior = probabilities * table.T[given]
    return np.asarray(posterior / posterior.sum(axis=1, keepdims=True))


def _uniform_errors(rate: float, classes: int) -> Values:
    """Return P(given | true), `[true, given]`, where a share `rate` of each class is wrong."""
    table = np.full((classes, classes), rate / (classes - 1))
    np.fill_diagonal(table, 1 - rate)
    return table

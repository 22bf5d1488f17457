"""The noise model: probabilities that labels are wrong where nothing was planted to measure on."""

from __future__ import annotations

import numpy as np

from dataaudit.flags.probabilities import Labels, Table, Values, pick, softmax

ASSUMED_TEMPERATURE = 0.75
ASSUMED_MEMORY = 0.4
"""Nats. Measured on CIFAR-10N (docs/mislabels.md): a model that learned noisy labels again is
underconfident, and still remembers about so much of each. On other data both differ, which is
why no interval is claimed for what comes out."""
PRIOR_ROWS = 20.0
"""Weight, in rows for each class, of errors that fall on all other classes alike."""


def assumed_log_odds(mirrored: Table, given: Labels) -> Values:
    """Return log odds that each given label is wrong, `[rows]`, under assumed memory.

    Parameters
    ----------
    mirrored : `[rows, C]`
        Probabilities of the model that learned again, none of them 0.
    given : int64 `[rows]`
    """
    logits = np.log(mirrored) / ASSUMED_TEMPERATURE
    logits[np.arange(len(given)), given] -= ASSUMED_MEMORY
    right = np.clip(pick(noise_posterior(softmax(logits), given), given), 1e-9, 1 - 1e-9)
    return np.asarray(np.log1p(-right) - np.log(right))


def noise_posterior(probabilities: Values, given: Labels, iterations: int = 60) -> Values:
    """Return the posterior of each row's true class, `[rows, C]`, rows sum to 1.

    It is proportional to p(class | row) · P(given | class), the latter a noise table fitted by
    expectation maximization (Dawid and Skene, Applied Statistics 1979) and drawn towards errors
    that fall on all other classes alike.

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
        posterior = probabilities * table.T[given]
        posterior /= posterior.sum(axis=1, keepdims=True)
        counts = np.stack(
            [posterior[given == label].sum(axis=0) for label in range(classes)], axis=1
        )
        error = float(1 - np.trace(counts) / len(given))
        table = counts + PRIOR_ROWS * _uniform_errors(error, classes)
        table = np.maximum(table / table.sum(axis=1, keepdims=True), 1e-12)
    return posterior


def _uniform_errors(rate: float, classes: int) -> Values:
    """Return P(given | true), `[true, given]`, where a share `rate` of each class is wrong."""
    table = np.full((classes, classes), rate / (classes - 1))
    np.fill_diagonal(table, 1 - rate)
    return table

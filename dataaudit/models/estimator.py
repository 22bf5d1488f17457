"""Fitted scikit-learn estimators that speak for themselves, where they need no gradients for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone

from dataaudit.datasets.samples import Samples

_ROWS_PER_READ = 4096


@dataclass(frozen=True)
class Estimator:
    """A fitted classifier and what it is given.

    Attributes
    ----------
    fitted : classifier or regressor
    select : callable
        (pandas.DataFrame of raw rows) -> what it takes.
    predict : callable
        (estimator, what it takes) -> probabilities `[rows, C]`, or predicted targets `[rows, 1]`.
    """

    fitted: Any
    select: Callable[[pd.DataFrame], Any]
    predict: Callable[[Any, Any], NDArray[Any]]

    def predictions(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return what it says of raw rows: probabilities `[rows, C]`, or targets `[rows, 1]`."""
        return np.asarray(self.predict(self.fitted, self.select(frame)), dtype=np.float64)

    def probabilities(self, samples: Samples) -> NDArray[np.float64]:
        """Return the probabilities of all samples, `[n, C]`, in the order of its classes."""
        parts = [self.predictions(batch.frame) for batch in samples.batches(_ROWS_PER_READ)]
        return np.concatenate(parts)

    def inputs(self, samples: Samples) -> Any:
        """Return what the estimator takes of all samples, held in memory at once."""
        return joined([self.select(batch.frame) for batch in samples.batches(_ROWS_PER_READ)])

    def fitted_to(self, inputs: Any, labels: NDArray[Any], seed: int) -> Estimator:
        """Return the same kind of estimator, fitted from scratch to class indices, or targets.

        Raises
        ------
        Exception
            Whatever the estimator raises where it cannot be fitted anew.
        """
        estimator = clone(self.fitted)
        open_seeds = {
            name: seed
            for name, value in estimator.get_params().items()
            if name.rpartition("__")[2] == "random_state" and value is None
        }
        estimator.set_params(**open_seeds)
        classes = getattr(self.fitted, "classes_", None)
        with warnings.catch_warnings():
            # What its own fit warned of, its maker has seen.
            warnings.simplefilter("ignore")
            estimator.fit(inputs, labels if classes is None else np.asarray(classes)[labels])
        return replace(self, fitted=estimator)


def joined(parts: Sequence[Any]) -> Any:
    """Return inputs of an estimator, split in parts, as one."""
    if isinstance(parts[0], (pd.DataFrame, pd.Series)):
        return pd.concat(parts)
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts)
    return np.concatenate([np.asarray(part) for part in parts])

"""A plain linear classifier on what an estimator's last step takes: a second way to see the rows.

Boosting, neighbours and naive Bayes each see something else in the same rows than a logistic
regression does, and where two see alike they are believed more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dataaudit.models.distillation import probabilities
from dataaudit.models.estimator import Estimator
from dataaudit.models.scikit_learn import final_step
from dataaudit.models.table_encoding import TableEncoding

STEPS = 200
ON_WORDS = 10.0
"""Inverse ridge on TF-IDF, whose values are small; on standardized columns it is 1."""
ROWS_LOOKED_AT = 100


class Encoded(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """`TableEncoding` as a step of a pipeline."""

    def fit(self, values: Any, labels: Any = None) -> Encoded:
        """Learn the encoding."""
        self.encoding_ = TableEncoding.fit(values)
        return self

    def transform(self, values: Any) -> Any:
        """Return finite numbers, float64 `[rows, width]`."""
        return self.encoding_(values)


def plain_classifier(estimator: Estimator, inputs: Any, labels: Any) -> Estimator | None:
    """Return a logistic regression behind the estimator's own preparation of its inputs.

    Parameters
    ----------
    estimator : Estimator
        Of classes.
    inputs : what the estimator takes
    labels : int64 `[rows]`

    Returns
    -------
    Estimator, fitted; None where the estimator is one itself, or its inputs are no table or text

    Raises
    ------
    Exception
        Whatever the estimator's own steps raise.
    """
    if type(final_step(estimator.fitted)) is LogisticRegression:
        return None
    before = estimator.fitted[:-1] if len(getattr(estimator.fitted, "steps", [])) > 1 else None
    values = inputs[:ROWS_LOOKED_AT]
    steps = _steps(values if before is None else before.transform(values))
    if steps is None:
        return None
    model = make_pipeline(*([] if before is None else [clone(before)]), *steps)
    classes = np.asarray(estimator.fitted.classes_)
    return Estimator(model.fit(inputs, classes[labels]), estimator.select, probabilities)


def _steps(values: Any) -> list[Any] | None:
    """Return what comes behind the preparation of such values."""
    if sparse.issparse(values):
        return [LogisticRegression(C=ON_WORDS, max_iter=STEPS)]
    if isinstance(values, pd.Series) or np.ndim(values) == 1:
        return [TfidfVectorizer(), LogisticRegression(C=ON_WORDS, max_iter=STEPS)]
    if np.ndim(values) == 2:
        return [Encoded(), StandardScaler(), LogisticRegression(max_iter=STEPS)]
    return None

"""A fitted logistic regression of scikit-learn, fitted again to other rows."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from torch import Tensor, nn

from dataaudit.models.scikit_learn import exact_module, final_step


def is_logistic_regression(estimator: object) -> bool:
    """Tell whether this is a fitted logistic regression, or a pipeline that ends in one."""
    final = final_step(estimator)
    return type(final).__name__ == "LogisticRegression" and hasattr(final, "coef_")


def refitted(estimator: Any, inputs: Tensor, labels: Tensor) -> nn.Module:
    """Fit a logistic regression to other rows, with the estimator's own regularisation.

    Parameters
    ----------
    estimator : LogisticRegression or pipeline that ends in one
        Fitted. The steps before the regression are held as they are.
    inputs : float64 `[rows, columns]`
        As the regression takes them.
    labels : int64 `[rows]`
        Class indices; every class must be there.
    """
    final = copy.deepcopy(final_step(estimator))
    # From the fitted weights it takes few steps. Differences between fits are small: what the
    # default tolerance leaves would drown them.
    final.set_params(warm_start=True, tol=1e-10, max_iter=20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        final.fit(inputs.cpu().numpy(), final.classes_[labels.cpu().numpy()])
    return exact_module(final).eval().to(labels.device)

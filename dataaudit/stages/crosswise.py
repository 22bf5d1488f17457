"""Crosswise fits of an estimator: every sample judged by models that were fitted without it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.flags.inputs import Unseen, View
from dataaudit.inputs import Loaded
from dataaudit.models.estimator import Estimator, joined
from dataaudit.models.plain import plain_classifier
from dataaudit.tasks.regression import NORMAL_MEDIAN

FOLDS = 5
FEWEST_TRUSTED_TO_FIT = 20
"""With fewer, no model is fitted to trusted samples alone."""

FAR = 2.0
"""Rows whose targets are further off, in noise scales, are left out of the second round of fits."""
RIGHT_WITHIN = 0.95
"""Share of the trusted samples that is never further off than what is left out."""

Labels = NDArray[Any]


def may_be_seen_crosswise(loaded: Loaded) -> bool:
    """Tell whether an audit's model can be fitted anew at all: an estimator of such labels."""
    return loaded.model.estimator is not None and loaded.train.kind.refitted


def seen_crosswise(loaded: Loaded, seed: int) -> Unseen | None:
    """Return what an audit's estimator says of samples that it was fitted anew without, or None.

    A plain linear classifier is asked as well. None where the model is no estimator, where labels
    are neither classes nor targets, and where it cannot be fitted anew: an ensemble of models that
    were fitted before, say.
    """
    estimator, train, held_out = loaded.model.estimator, loaded.train, loaded.held_out
    if estimator is None or not may_be_seen_crosswise(loaded):
        return None
    trusted, right = None, train.labels[:0]
    if held_out is not None and len(held_out):
        trusted, right = estimator.inputs(held_out), held_out.labels
    try:
        rows = LabelledInputs(estimator.inputs(train), train.labels, trusted, right)
        return with_plain_views(judged_crosswise(estimator, rows, seed), estimator, rows, seed)
    # Anything may be wrong with a user's estimator, and the audit does not depend on it.
    except Exception:
        return None


@dataclass(frozen=True)
class LabelledInputs:
    """What an estimator is fitted to, crosswise.

    Attributes
    ----------
    rows, trusted : what the estimator takes
        `trusted` may be None, where there are none.
    given, right : `[rows]`, `[trusted]`
        Class indices, or targets.
    """

    rows: Any
    given: Labels
    trusted: Any
    right: Labels


def judged_crosswise(estimator: Estimator, inputs: LabelledInputs, seed: int) -> Unseen:
    """Fit the estimator anew, crosswise, and let it judge rows and trusted samples.

    Rows and trusted samples are spread over the folds alike, so that what is seen of the trusted
    samples holds of the rows. A further view comes from models fitted to trusted samples alone,
    which no wrong label has touched. Of targets there are two rounds instead, and the second learns
    none that the first found far off.

    Parameters
    ----------
    estimator : Estimator
    inputs : LabelledInputs
    seed : int
        Of the folds, and of what the estimator draws.

    Raises
    ------
    Exception
        Whatever the estimator raises where it cannot be fitted anew.
    """
    seen = _seen(estimator, inputs, seed, np.ones(len(inputs.given), dtype=bool))
    if hasattr(estimator.fitted, "classes_"):
        return seen
    return _seen(estimator, inputs, seed, _near(inputs.given, seen))


def with_plain_views(
    found: Unseen, estimator: Estimator, inputs: LabelledInputs, seed: int
) -> Unseen:
    """Add what a plain linear classifier says that is fitted crosswise, too.

    Parameters
    ----------
    found : Unseen
        What `judged_crosswise` made of the others.
    estimator, inputs, seed
        As there.

    Returns
    -------
    Unseen, as it was where labels are targets or nothing can be fitted to the estimator's inputs
    """
    if not hasattr(estimator.fitted, "classes_"):
        return found
    try:
        plain = plain_classifier(estimator, inputs.rows, inputs.given)
        if plain is None:
            return found
        more = judged_crosswise(plain, inputs, seed)
    # What an estimator copes with, gaps or words, the plain one may not: it is a help, no need.
    except Exception:
        return found
    views = [replace(view, name=f"a plain linear model, {view.name}") for view in more.views]
    return replace(found, views=[*found.views, *views])


def _near(targets: Labels, seen: Unseen) -> NDArray[np.bool_]:
    """Tell which targets lie so near what is expected that the next fits may learn them, `[rows]`.

    A wrong target draws a fit to itself, and with it what is said of rows like its own. But where
    most right targets are nearly the same, others are right and far off.
    """
    off = np.abs(targets - seen.views[0].rows[:, 0])
    known = np.abs(seen.trusted_labels - seen.views[0].trusted[:, 0])
    if len(known) < FEWEST_TRUSTED_TO_FIT:
        return np.asarray(off <= FAR * float(np.median(off)) / NORMAL_MEDIAN)
    usual = float(np.median(known)) / NORMAL_MEDIAN
    return np.asarray(off <= max(FAR * usual, float(np.quantile(known, RIGHT_WITHIN))))


def _seen(
    estimator: Estimator, inputs: LabelledInputs, seed: int, learned_from: NDArray[np.bool_]
) -> Unseen:
    """As `judged_crosswise`, fitted only to the rows of `learned_from`, bool `[rows]`."""
    rows, given, trusted, right = inputs.rows, inputs.given, inputs.trusted, inputs.right
    generator = np.random.default_rng(seed)
    width = len(getattr(estimator.fitted, "classes_", [None]))
    row_folds, trusted_folds = _folds(given, generator), _folds(right, generator)
    classes = hasattr(estimator.fitted, "classes_")
    # Of targets a few digits more are wanted, and there is one for each row.
    held = np.float32 if classes else np.float64
    of_rows = [np.zeros((len(given), width), dtype=held) for _ in range(2)]
    of_trusted = [np.zeros((len(right), width), dtype=held) for _ in range(2)]
    alone = classes and len(right) >= FEWEST_TRUSTED_TO_FIT
    for fold in range(FOLDS):
        row, sample = row_folds == fold, trusted_folds == fold
        others = ~row & learned_from
        learned = [_taken(rows, others), *([_taken(trusted, ~sample)] if len(right) else [])]
        both = estimator.fitted_to(
            joined(learned), np.concatenate([given[others], right[~sample]]), seed
        )
        models = [both]
        if alone and (model := _fitted_alone(estimator, learned[1], right[~sample], seed)):
            models.append(model)
        else:
            alone = False
        for place, model in enumerate(models):
            of_rows[place][row] = _predictions(model, _taken(rows, row), estimator)
            if sample.any():
                found = _predictions(model, _taken(trusted, sample), estimator)
                of_trusted[place][sample] = found
    views = [
        View("fitted without the row", of_rows[0], of_trusted[0]),
        View("fitted to trusted samples alone", of_rows[1], of_trusted[1], alone=True),
    ]
    return Unseen(views[: 1 + alone], right)


def _folds(labels: Labels, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return each sample's fold; classes are spread over them as evenly as can be."""
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[by_class] = np.arange(len(labels)) % FOLDS
    return folds


def _taken(values: Any, chosen: NDArray[np.bool_]) -> Any:
    return values.iloc[chosen] if hasattr(values, "iloc") else values[chosen]


def _fitted_alone(estimator: Estimator, inputs: Any, labels: Labels, seed: int) -> Estimator | None:
    try:
        return estimator.fitted_to(inputs, labels, seed)
    # So few samples may lack a class, or be fewer than the neighbours that are asked for.
    except Exception:
        return None


def _predictions(model: Estimator, inputs: Any, whole: Estimator) -> NDArray[Any]:
    """Return `[samples, C]` with a column for every class, also for those it was not fitted to.

    Of targets, `[samples, 1]`.
    """
    found = model.predict(model.fitted, inputs)
    if not hasattr(whole.fitted, "classes_"):
        return found
    # Both are sorted, as scikit-learn keeps classes.
    places = np.searchsorted(whole.fitted.classes_, model.fitted.classes_)
    result = np.zeros((len(found), len(whole.fitted.classes_)), dtype=np.float32)
    result[:, places] = found
    return result

"""Crosswise: every sample judged by models that were fitted, or learned again, without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.config import AuditConfig
from dataaudit.flags.inputs import Unseen, View
from dataaudit.inputs import Loaded
from dataaudit.mirror.effort import affordable
from dataaudit.mirror.finite import FiniteSettings
from dataaudit.mirror.left_out import FOLDS, REPEATS, judged_left_out, most_passes
from dataaudit.models.estimator import Estimator, joined
from dataaudit.models.plain import plain_classifier
from dataaudit.stages.model_check import agreement
from dataaudit.tasks.regression import NORMAL_MEDIAN

FEWEST_TRUSTED_TO_FIT = 20
"""With fewer, no model is fitted to trusted samples alone."""

FAR = 2.0
"""Rows whose targets are further off, in noise scales, are left out of the second round of fits."""

FITTED = "nothing learns again: the estimator is fitted anew, crosswise"
LEFT_OUT = (
    f"the model learns again {FOLDS * REPEATS} times from fresh or initial weights, each without a "
    "fifth of the rows and of the trusted samples, which it then judges"
)
LEAST_SHARE_OF_SKILL = 0.5
"""Of what the trained model knows of trusted samples beyond chance: a model that learned again and
knows less cannot do without the weights that it was trained from."""

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
        rows = estimator.inputs(train)
        return with_plain_views(
            judged_crosswise(estimator, rows, train.labels, trusted, right, seed),
            *(estimator, rows, train.labels, trusted, right, seed),
        )
    # Anything may be wrong with a user's estimator, and the audit does not depend on it.
    except Exception:
        return None


def may_learn_left_out(loaded: Loaded, config: AuditConfig) -> bool:
    """Tell whether a model learns again without each row: a reward model, where that is affordable.

    Whoever says how the mirror is to be made gets that mirror.
    """
    asked = config.mirror.model_dump(
        exclude_defaults=True, exclude={"seed", "parameters", "batch_norm", "dropout"}
    )
    return (
        loaded.train.kind.form == "pair"
        and not asked
        and affordable(loaded, left_out_passes(loaded))
    )


def left_out_passes(loaded: Loaded) -> float:
    """Return the forward passes for each training row that learning without it takes at most."""
    samples = len(loaded.train) + (0 if loaded.held_out is None else len(loaded.held_out))
    return most_passes() * samples / len(loaded.train)


def learned_left_out(loaded: Loaded, config: AuditConfig) -> Unseen | None:
    """Return what a model says of samples that it learned again without, or None.

    None where it may not (`may_learn_left_out`), and where what learned again knows much less than
    the trained model: a large one that started from weights that are not given.
    """
    if not may_learn_left_out(loaded, config):
        return None
    mirror = config.mirror
    settings = FiniteSettings(
        parameters=mirror.parameters,
        batch_norm=mirror.batch_norm,
        dropout=mirror.dropout,
        seed=mirror.seed,
    )
    found = judged_left_out(loaded, settings)
    (view,), check, enough = found.views, loaded.check, 0.0
    said, labels = view.rows, loaded.train.labels
    if len(view.trusted):
        said, labels = view.trusted, found.trusted_labels
        if check is not None and check.accuracy_trusted is not None:
            enough = LEAST_SHARE_OF_SKILL * (check.accuracy_trusted - check.chance)
    result = agreement(loaded.task, said, labels)
    known = result.against_chance == "above" and result.right - result.by_chance >= enough
    return found if known else None


def judged_crosswise(
    estimator: Estimator, rows: Any, given: Labels, trusted: Any, right: Labels, seed: int
) -> Unseen:
    """Fit the estimator anew, crosswise, and let it judge rows and trusted samples.

    Rows and trusted samples are spread over the folds alike, so that what is seen of the trusted
    samples holds of the rows. A further view comes from models fitted to trusted samples alone,
    which no wrong label has touched. Of targets there are two rounds instead, and the second learns
    none that the first found far off.

    Parameters
    ----------
    estimator : Estimator
    rows, trusted : what the estimator takes
        `trusted` may be None, where there are none.
    given, right : `[rows]`, `[trusted]`
        Class indices, or targets.
    seed : int

    Raises
    ------
    Exception
        Whatever the estimator raises where it cannot be fitted anew.
    """
    seen = _seen(estimator, rows, given, trusted, right, seed, np.ones(len(given), dtype=bool))
    if hasattr(estimator.fitted, "classes_"):
        return seen
    return _seen(estimator, rows, given, trusted, right, seed, _near(given, seen))


def with_plain_views(
    found: Unseen,
    estimator: Estimator,
    rows: Any,
    given: Labels,
    trusted: Any,
    right: Labels,
    seed: int,
) -> Unseen:
    """Add what a plain linear classifier says that is fitted crosswise, too.

    Parameters
    ----------
    found : Unseen
        What `judged_crosswise` made of the others.
    estimator, rows, given, trusted, right, seed
        As there.

    Returns
    -------
    Unseen, as it was where labels are targets or nothing can be fitted to the estimator's inputs
    """
    if not hasattr(estimator.fitted, "classes_"):
        return found
    try:
        plain = plain_classifier(estimator, rows, given)
        if plain is None:
            return found
        more = judged_crosswise(plain, rows, given, trusted, right, seed)
    # What an estimator copes with, gaps or words, the plain one may not: it is a help, no need.
    except Exception:
        return found
    views = [replace(view, name=f"a plain linear model, {view.name}") for view in more.views]
    return replace(found, views=[*found.views, *views])


def _near(targets: Labels, seen: Unseen) -> NDArray[np.bool_]:
    """Tell which targets lie so near what is expected that the next fits may learn them, `[rows]`.

    A wrong target draws a fit to itself, and with it what is said of rows like its own.
    """
    off = np.abs(targets - seen.views[0].rows[:, 0])
    known = np.abs(seen.trusted_labels - seen.views[0].trusted[:, 0])
    usual = float(np.median(known if len(known) >= FEWEST_TRUSTED_TO_FIT else off)) / NORMAL_MEDIAN
    return np.asarray(off <= FAR * usual)


def _seen(
    estimator: Estimator,
    rows: Any,
    given: Labels,
    trusted: Any,
    right: Labels,
    seed: int,
    learned_from: NDArray[np.bool_],
) -> Unseen:
    """As `judged_crosswise`, fitted only to the rows of `learned_from`, bool `[rows]`."""
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

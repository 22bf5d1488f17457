"""Models that learn again without each row: whether they may, and how well.

Reward and language models do so in the place of a mirror, others beside it.
"""

from __future__ import annotations

from collections.abc import Callable

from sklearn.metrics import roc_auc_score

from dataaudit.config import AuditConfig
from dataaudit.flags.inputs import Unseen, View
from dataaudit.inputs import Loaded
from dataaudit.labels.answers import AFTER
from dataaudit.mirror.beside import judged_beside
from dataaudit.mirror.effort import affordable
from dataaudit.mirror.finite import FiniteSettings
from dataaudit.mirror.learners import Learners
from dataaudit.mirror.left_out import (
    FOLDS,
    REPEATS,
    judged_left_out,
    most_passes,
    references_of,
)
from dataaudit.mirror.plan import Attempt, Plan
from dataaudit.mirror.references import pool_predictions
from dataaudit.mirror.relearn import WORKS, Mirror
from dataaudit.mirror.stored import from_bytes, to_bytes
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.stages.model_check import agreement
from dataaudit.storage.on_disk import large_arrays_in

LEFT_OUT = (
    f"the model learns again {FOLDS * REPEATS} times from fresh or initial weights, each without a "
    "fifth of the rows and of the trusted samples, which it then judges"
)
LEAST_SHARE_OF_SKILL = 0.5
"""Of what the trained model knows of trusted samples beyond chance: a model that learned again and
knows less cannot do without the weights that it was trained from."""


def may_learn_left_out(loaded: Loaded, config: AuditConfig) -> bool:
    """Tell whether a model learns again without each row: a reward model, where that is affordable.

    Or a language model, of answers. Whoever says how the mirror is to be made gets that mirror.
    """
    kind, asked = (
        loaded.train.kind,
        config.mirror.model_dump(
            exclude_defaults=True, exclude={"seed", "parameters", "batch_norm", "dropout"}
        ),
    )
    return (
        (kind.form == "pair" or kind.written)
        and not asked
        and affordable(loaded, left_out_passes(loaded))
    )


def left_out_passes(loaded: Loaded) -> float:
    """Return the forward passes for each training row that learning without it takes at most."""
    samples = len(loaded.train) + (0 if loaded.held_out is None else len(loaded.held_out))
    return most_passes(samples, written=loaded.train.kind.written) / len(loaded.train)


def learned_left_out(loaded: Loaded, config: AuditConfig) -> Unseen | None:
    """Return what a model says of samples that it learned again without, or None.

    None where it may not (`may_learn_left_out`), and where what learned again knows much less than
    the trained model: a large one that started from weights that are not given.
    """
    if not may_learn_left_out(loaded, config):
        return None
    found = judged_left_out(loaded, settings_of(config))
    if loaded.train.kind.written:
        return found if _tells_answers(loaded, found, config.mirror.seed) else None
    (view,), check, enough = found.views, loaded.check, 0.0
    said, labels = view.rows, loaded.train.labels
    if len(view.trusted):
        said, labels = view.trusted, found.trusted_labels
        if check is not None and check.accuracy_trusted is not None:
            enough = LEAST_SHARE_OF_SKILL * (check.accuracy_trusted - check.chance)
    result = agreement(loaded.task, said, labels)
    known = result.against_chance == "above" and result.right - result.by_chance >= enough
    return found if known else None


def learned_beside(loaded: Loaded, plan: Plan, steps: Steps, learners: Learners) -> View | None:
    """Return what models say that learned without the row, beside a mirror.

    None where the plan has none of them, and where they know too little (`judged_beside`).
    """
    if not plan.beside:
        return None

    def keep(name: str, learn: Callable[[], Perturbation]) -> Perturbation:
        content = steps.read(name)
        if content is None:
            mirror = Mirror(UNPERTURBED, [learn()], None, Attempt(0.0, 0.0), flip=False)
            content = to_bytes(mirror)
            steps.write(name, content)
        # Read back even when it is new: then a resumed audit has exactly what the other one had.
        return from_bytes(content, None, loaded.model.device).relearned[0]

    with large_arrays_in(steps.folder):
        return judged_beside(loaded, plan, keep, learners)


def settings_of(config: AuditConfig) -> FiniteSettings:
    """Return what moves while a model learns without some rows."""
    mirror = config.mirror
    return FiniteSettings(
        parameters=mirror.parameters,
        batch_norm=mirror.batch_norm,
        dropout=mirror.dropout,
        seed=mirror.seed,
    )


def _tells_answers(loaded: Loaded, found: Unseen, seed: int) -> bool:
    """Tell whether wrong answers stand out from right ones, as they do under the trained model.

    That has learned no trusted sample either.
    """
    if loaded.held_out is None:
        return True
    references = references_of(loaded, seed)
    if not references.planted.any():
        # One or two trusted samples tell as little as none.
        return True
    own = pool_predictions(loaded.model, loaded.task, references.pool)
    own_skill, skill = (
        roc_auc_score(references.planted, said[:, AFTER]) - 0.5
        for said in (own, found.views[0].trusted)
    )
    return bool(skill >= max(WORKS - 0.5, LEAST_SHARE_OF_SKILL * own_skill))

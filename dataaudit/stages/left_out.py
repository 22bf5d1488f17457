"""The mirror stage of reward models: whether they learn again without each row, and how well."""

from __future__ import annotations

from dataaudit.config import AuditConfig
from dataaudit.flags.inputs import Unseen
from dataaudit.inputs import Loaded
from dataaudit.mirror.effort import affordable
from dataaudit.mirror.finite import FiniteSettings
from dataaudit.mirror.left_out import FOLDS, REPEATS, judged_left_out, most_passes
from dataaudit.stages.model_check import agreement

LEFT_OUT = (
    f"the model learns again {FOLDS * REPEATS} times from fresh or initial weights, each without a "
    "fifth of the rows and of the trusted samples, which it then judges"
)
LEAST_SHARE_OF_SKILL = 0.5
"""Of what the trained model knows of trusted samples beyond chance: a model that learned again and
knows less cannot do without the weights that it was trained from."""


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

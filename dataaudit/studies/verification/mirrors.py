"""The mirrors that are verified: their settings, and what the report says of them."""

from __future__ import annotations

from dataaudit.config import AuditConfig
from dataaudit.mirror.finite import FiniteSettings
from dataaudit.studies.verification.data import MirrorKind
from dataaudit.studies.verification.measuring import Rehearsal

LEARNING_RATE = 1e-3
MOVED = {"all": "all parameters", "last": "the last linear layer", "adapters": "the adapters"}
PASSES = 3
"""Over the rows, which the steps rehearse; `mirror` in audit.yaml may say otherwise."""


def mirror_settings(config: AuditConfig, rows: int) -> FiniteSettings:
    """Return the steps on a query group: those of `mirror` in audit.yaml, where it says."""
    mirror = config.mirror
    return FiniteSettings(
        steps=mirror.steps or max(20, PASSES * rows // Rehearsal.rows_per_step),
        learning_rate=mirror.learning_rate or LEARNING_RATE,
        schedule="one cycle",
        parameters=mirror.parameters,
        seed=mirror.seed,
    )


def mirror_words(settings: FiniteSettings, rows: int, queries: int) -> dict[MirrorKind, str]:
    """Return how the mirrors are made, in words.

    Parameters
    ----------
    settings : FiniteSettings
    rows : int
        Training rows.
    queries : int
        In the largest query group.
    """
    named = settings.parameters
    moved = MOVED[named] if isinstance(named, str) else f"the parameters {', '.join(named)}"
    steps = (
        f"{settings.steps} steps of AdamW from the trained weights, one cycle up to a learning "
        f"rate of {settings.learning_rate:g}, {moved}"
    )
    each = Rehearsal()
    return {
        "retrained": "the recipe, on all rows and the query group",
        "rehearsed": f"{steps}; each on {min(each.rows_per_step, rows)} training rows and "
        f"{min(each.queries_per_step, queries)} queries, against the same steps without the "
        "queries",
        "steps": f"{steps}; each on the whole query group",
    }

"""The mirrors that are verified: their settings, and what the report says of them."""

from __future__ import annotations

from dataaudit.config import AuditConfig
from dataaudit.mirror.finite import FiniteSettings
from dataaudit.studies.verification.data import MirrorKind
from dataaudit.studies.verification.measuring import Rehearsal

LEARNING_RATE = 1e-3
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


def mirror_words(settings: FiniteSettings) -> dict[MirrorKind, str]:
    """Return how the mirrors are made, in words."""
    moved = "all parameters" if settings.parameters == "all" else "the last linear layer"
    steps = (
        f"{settings.steps} steps of AdamW from the trained weights, one cycle up to a learning "
        f"rate of {settings.learning_rate:g}, {moved}"
    )
    each = Rehearsal()
    return {
        "retrained": "the recipe, on all rows and the query group",
        "rehearsed": f"{steps}; each on {each.rows_per_step} training rows and "
        f"{each.queries_per_step} queries, against the same steps without the queries",
        "steps": f"{steps}; each on the whole query group",
    }

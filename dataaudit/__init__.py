"""dataaudit: find mislabeled training rows and rows that leak into the evaluation set."""

from typing import TYPE_CHECKING, Any

from dataaudit.errors import (
    ConfigError,
    DataAuditError,
    DataError,
    ModelError,
    RunDirectoryError,
)

if TYPE_CHECKING:
    from dataaudit.attribution.api import trace
    from dataaudit.auditing import audit
    from dataaudit.influence.blocks import Influence
    from dataaudit.influence.run import mirrored_influence
    from dataaudit.result import AuditResult

__all__ = [
    "AuditResult",
    "ConfigError",
    "DataAuditError",
    "DataError",
    "Influence",
    "ModelError",
    "RunDirectoryError",
    "audit",
    "mirrored_influence",
    "trace",
]


def __getattr__(name: str) -> Any:
    # torch takes over a second to import; `dataaudit --help` must not wait for it.
    if name == "audit":
        from dataaudit.auditing import audit

        return audit
    if name == "trace":
        from dataaudit.attribution.api import trace

        return trace
    if name == "AuditResult":
        from dataaudit.result import AuditResult

        return AuditResult
    if name == "Influence":
        from dataaudit.influence.blocks import Influence

        return Influence
    if name == "mirrored_influence":
        from dataaudit.influence.run import mirrored_influence

        return mirrored_influence
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

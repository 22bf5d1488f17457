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
    from dataaudit.result import AuditResult

__all__ = [
    "AuditResult",
    "ConfigError",
    "DataAuditError",
    "DataError",
    "ModelError",
    "RunDirectoryError",
    "audit",
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
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

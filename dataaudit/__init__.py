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
    from dataaudit.auditing import AuditResult, audit

__all__ = [
    "AuditResult",
    "ConfigError",
    "DataAuditError",
    "DataError",
    "ModelError",
    "RunDirectoryError",
    "audit",
]


def __getattr__(name: str) -> Any:
    # torch takes over a second to import; `dataaudit --help` must not wait for it.
    if name in ("AuditResult", "audit"):
        from dataaudit import auditing

        return getattr(auditing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

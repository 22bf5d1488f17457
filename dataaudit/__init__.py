"""dataaudit: find mislabeled training rows and rows that leak into the evaluation set."""

from dataaudit.audit import AuditResult, audit
from dataaudit.errors import (
    ConfigError,
    DataAuditError,
    DataError,
    ModelError,
    RunDirectoryError,
)

__all__ = [
    "AuditResult",
    "ConfigError",
    "DataAuditError",
    "DataError",
    "ModelError",
    "RunDirectoryError",
    "audit",
]

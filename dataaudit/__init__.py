"""dataaudit: find mislabeled training rows and rows that leak into the evaluation set."""

from importlib import import_module
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
    from dataaudit.memorized.check import memorization
    from dataaudit.result import AuditResult
    from dataaudit.verification.check import verify
    from dataaudit.verification.settings import VerifySettings

__all__ = [
    "AuditResult",
    "ConfigError",
    "DataAuditError",
    "DataError",
    "Influence",
    "ModelError",
    "RunDirectoryError",
    "VerifySettings",
    "audit",
    "memorization",
    "mirrored_influence",
    "trace",
    "verify",
]


_HOMES = {
    "AuditResult": "dataaudit.result",
    "Influence": "dataaudit.influence.blocks",
    "VerifySettings": "dataaudit.verification.settings",
    "audit": "dataaudit.auditing",
    "memorization": "dataaudit.memorized.check",
    "mirrored_influence": "dataaudit.influence.run",
    "trace": "dataaudit.attribution.api",
    "verify": "dataaudit.verification.check",
}


def __getattr__(name: str) -> Any:
    # torch takes over a second to import; `dataaudit --help` must not wait for it.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

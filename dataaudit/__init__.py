"""dataaudit: find mislabeled training rows and rows that leak into the evaluation set."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dataaudit.errors import (
    ConfigError,
    DataAuditError,
    DataError,
    EngineError,
    ModelError,
    RunDirectoryError,
)

if TYPE_CHECKING:
    from dataaudit.report.result import AuditResult
    from dataaudit.stages.auditing import audit
    from dataaudit.studies.influence.blocks import Influence
    from dataaudit.studies.influence.run import mirrored_influence
    from dataaudit.studies.memorization.check import MemorizationResult, memorization
    from dataaudit.studies.memorization.settings import MemorizationSettings
    from dataaudit.studies.tracing.api import trace
    from dataaudit.studies.verification.check import VerificationResult, verify
    from dataaudit.studies.verification.settings import VerifySettings

__all__ = [
    "AuditResult",
    "ConfigError",
    "DataAuditError",
    "DataError",
    "EngineError",
    "Influence",
    "MemorizationResult",
    "MemorizationSettings",
    "ModelError",
    "RunDirectoryError",
    "VerificationResult",
    "VerifySettings",
    "audit",
    "memorization",
    "mirrored_influence",
    "trace",
    "verify",
]


_HOMES = {
    "AuditResult": "dataaudit.report.result",
    "Influence": "dataaudit.studies.influence.blocks",
    "MemorizationResult": "dataaudit.studies.memorization.check",
    "MemorizationSettings": "dataaudit.studies.memorization.settings",
    "VerificationResult": "dataaudit.studies.verification.check",
    "VerifySettings": "dataaudit.studies.verification.settings",
    "audit": "dataaudit.stages.auditing",
    "memorization": "dataaudit.studies.memorization.check",
    "mirrored_influence": "dataaudit.studies.influence.run",
    "trace": "dataaudit.studies.tracing.api",
    "verify": "dataaudit.studies.verification.check",
}


def __getattr__(name: str) -> Any:
    # torch takes over a second to import; `dataaudit --help` must not wait for it.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # What tab completion shows: the public names, imported or not.
    return __all__

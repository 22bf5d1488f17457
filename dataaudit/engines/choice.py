"""From the settings to the engine."""

from __future__ import annotations

from dataaudit.config import AuditConfig
from dataaudit.engines.engine import Engine
from dataaudit.engines.local import LocalEngine


def make_engine(config: AuditConfig) -> Engine:
    """Return the engine that `engine` in `audit.yaml` asks for."""
    return LocalEngine(config.batch_size)

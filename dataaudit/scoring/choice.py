"""From the settings to the engine."""

from __future__ import annotations

import importlib.util

from dataaudit.config import AuditConfig
from dataaudit.errors import ConfigError
from dataaudit.models.numerics import Numerics
from dataaudit.scoring.engine import Engine
from dataaudit.scoring.local import LocalEngine


def make_engine(config: AuditConfig) -> Engine:
    """Return the engine that `engine` in `audit.yaml` asks for.

    Raises
    ------
    ConfigError
        It needs a package that is not installed.
    """
    numerics = Numerics(config.precision, config.compile)
    if config.engine.kind == "ray":
        if importlib.util.find_spec("ray") is None:
            raise ConfigError(
                "engine: ray is not installed; install dataaudit[ray], or use engine: local"
            )
        from dataaudit.scoring.ray import RayEngine

        workers = config.engine.workers or RayEngine.workers
        return RayEngine(config.batch_size, workers, config.engine.address, numerics)
    return LocalEngine(config.batch_size, numerics, config.engine.workers or LocalEngine.workers)

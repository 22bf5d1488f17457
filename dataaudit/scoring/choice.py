"""From the settings to the engine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from dataaudit.config import AuditConfig
from dataaudit.errors import ConfigError
from dataaudit.likeness.parts import parts_done_by
from dataaudit.models.numerics import Numerics
from dataaudit.scoring.cluster import Cluster
from dataaudit.scoring.engine import Engine
from dataaudit.scoring.local import LocalEngine


def make_engine(config: AuditConfig, cluster: Cluster | None = None) -> Engine:
    """Return the engine that `engine` in `audit.yaml` asks for.

    Parameters
    ----------
    config : AuditConfig
    cluster : Cluster or None
        From `on_cluster`; None: one that lasts for one call of the engine.

    Raises
    ------
    ConfigError
        It needs a package that is not installed.
    """
    numerics = Numerics(config.precision, config.compile)
    cluster = cluster or _cluster_of(config)
    if cluster is not None:
        from dataaudit.scoring.ray import RayEngine

        return RayEngine(config.batch_size, cluster, numerics)
    return LocalEngine(config.batch_size, numerics, config.engine.workers or LocalEngine.workers)


@contextmanager
def on_cluster(config: AuditConfig) -> Iterator[Cluster | None]:
    """Give the cluster that `engine` asks for, and have work in parts done there; None: here.

    Raises
    ------
    ConfigError
        It needs a package that is not installed.
    """
    cluster = _cluster_of(config)
    if cluster is None:
        yield None
        return
    with cluster, parts_done_by(cluster.spread):
        yield cluster


def _cluster_of(config: AuditConfig) -> Cluster | None:
    if config.engine.kind != "ray":
        return None
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "engine: ray is not installed; install dataaudit[ray], or use engine: local"
        )
    return Cluster(config.engine.workers or Cluster.WORKERS, config.engine.address)

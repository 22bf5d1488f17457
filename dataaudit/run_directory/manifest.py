"""The manifest: what went into an audit and what made it, so that it can be repeated."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dataaudit.config import AuditConfig
from dataaudit.inputs import AuditInputs

_PACKAGES = ("dataaudit", "torch", "numpy", "pandas", "pyarrow", "scikit-learn", "cleanlab")


@dataclass
class Clock:
    """How long each stage took, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def build_manifest(
    config: AuditConfig, loaded: AuditInputs, clock: Clock, made_from: Mapping[str, str]
) -> dict[str, Any]:
    """Return the content of `manifest.json`; `made_from` names each input with what it was."""
    splits = [loaded.train, loaded.held_out, loaded.suspects]
    model = {"description": loaded.model.description, "sha256": loaded.model.sha256()}
    initial = loaded.model.initial
    if initial is not None:
        model |= {"initial": initial.description, "initial_sha256": initial.sha256()}
    return {
        "manifest_version": "1.0",
        "inputs": {
            samples.role: {
                "source": samples.source.description,
                "rows": len(samples),
                "rows_set_aside": len(loaded.set_aside.get(samples.role, ())),
                "sha256": samples.sha256,
            }
            for samples in splits
            if samples is not None
        },
        "model": model,
        "settings": config.model_dump(mode="json", exclude={"about"}),
        "made_from": dict(made_from),
        "seeds": {"mirror": config.mirror.seed},
        "device": str(loaded.model.device),
        "versions": versions(),
        "timings_seconds": clock.seconds,
    }

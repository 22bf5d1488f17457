"""The manifest: what went into an audit and what made it, so that it can be repeated."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dataaudit.config import AuditConfig
from dataaudit.inputs import AuditInputs
from dataaudit.models.trained import TrainedModel
from dataaudit.progress import Whole, rows_run

_PACKAGES = ("dataaudit", "torch", "numpy", "pandas", "pyarrow", "scikit-learn", "cleanlab")


@dataclass
class Clock:
    """What each stage took.

    Attributes
    ----------
    seconds : dict of str to float
    rows_run : dict of str to int
        Forward passes of one row; a row that is learned counts as three.
    bytes_read : dict of str to int or None
        By this process, from files, cached or not; what is mapped into memory is left out. None
        where the system does not count it (only Linux does).
    whole : Whole
        Shows the progress.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    rows_run: dict[str, int] = field(default_factory=dict)
    bytes_read: dict[str, int | None] = field(default_factory=dict)
    whole: Whole = field(default_factory=Whole)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Meter what runs inside."""
        start, rows, read = time.perf_counter(), rows_run(), _bytes_read()
        with self.whole.stage(name):
            yield
        self.seconds[name] = round(time.perf_counter() - start, 3)
        self.rows_run[name] = rows_run() - rows
        now = _bytes_read()
        self.bytes_read[name] = None if read is None or now is None else now - read

    def stages(self, rows: int) -> dict[str, Any]:
        """Return what each stage took, with passes over so many rows."""
        return {
            name: {
                "seconds": seconds,
                "passes": round(self.rows_run[name] / rows, 3),
                "bytes_read": self.bytes_read[name],
            }
            for name, seconds in self.seconds.items()
        }


def _bytes_read() -> int | None:
    try:
        first = Path("/proc/self/io").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    return int(first.removeprefix("rchar: "))


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
        "model": _described(loaded.model),
        "settings": config.model_dump(mode="json", exclude={"about"}),
        "made_from": dict(made_from),
        "seeds": {"mirror": config.mirror.seed},
        "device": "none" if loaded.model is None else str(loaded.model.device),
        "versions": versions(),
        "timings_seconds": clock.seconds,
        "stages": clock.stages(len(loaded.train)),
    }


def _described(model: TrainedModel | None) -> dict[str, str] | None:
    if model is None:
        return None
    described = {"description": model.description, "sha256": model.sha256()}
    if model.initial is not None:
        described |= {
            "initial": model.initial.description,
            "initial_sha256": model.initial.sha256(),
        }
    return described

"""The checking stage: all checks beside wrong labels and leaks, and their gates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataaudit.checks.check import Check, Found
from dataaudit.checks.examined import Examined
from dataaudit.checks.labels import Labels
from dataaudit.checks.leaks import Leaks
from dataaudit.checks.running import Checked, refuse_unknown
from dataaudit.config import AuditConfig
from dataaudit.datasets.samples import Role
from dataaudit.errors import ConfigError
from dataaudit.inputs import AuditInputs
from dataaudit.report.data import Gate
from dataaudit.report.gates import counted, make_gate


def refuse_unknown_checks(config: AuditConfig) -> None:
    """Refuse names of checks that do not exist, and limits of those that are turned off.

    Raises
    ------
    ConfigError
        With the names that there are, or with the key of the limit.
    """
    refuse_unknown(config.checks, "checks")
    refuse_unknown(config.gates.checks, "gates.checks")
    limits = config.gates
    limited = {f"gates.checks.{name}": name for name in limits.checks}
    if limits.mislabel_rate is not None:
        limited["gates.mislabel_rate"] = Labels.name
    if limits.contaminated is not None:
        limited["gates.contaminated"] = Leaks.name
    for key, name in limited.items():
        if not config.checks.get(name, True):
            raise ConfigError(f"{key}: a limit on what `checks: {{{name}: false}}` turns off")


def wanted(config: AuditConfig, check: type[Check]) -> bool:
    """Tell whether a check was not turned off."""
    return config.checks.get(check.name, True)


def turned_off(config: AuditConfig) -> list[str]:
    """Return a note that names the checks that were turned off, if any were."""
    names = sorted(name for name, on in config.checks.items() if not on)
    return [f"Turned off by `checks:`, and not looked for: {', '.join(names)}"] if names else []


def examined(
    inputs: AuditInputs, config: AuditConfig, right: NDArray[np.float64] | None = None
) -> Examined:
    """Return what checks look at.

    Parameters
    ----------
    inputs : AuditInputs
    config : AuditConfig
    right : float64 `[held_out]` or None
        How right the model is on each trusted sample, higher = better; None without a model.
    """
    roles: tuple[Role, ...] = ("train", "held_out", "suspects")
    times = {role: getattr(config, role).time for role in roles if getattr(config, role)}
    return Examined(
        inputs.train,
        inputs.held_out,
        inputs.suspects,
        config.mirror.seed,
        {role: column for role, column in times.items() if column is not None},
        right,
        getattr(inputs, "benchmarks", {}),
        getattr(inputs, "benchmark_scores", {}),
    )


def check_gates(config: AuditConfig, checked: Checked) -> list[Gate]:
    """Return the gates of checks: the largest allowed number of things that each may find."""
    gates = []
    for name, limit in config.gates.checks.items():
        found = checked.found.get(name)
        count, doubts = None, []
        if isinstance(found, Found):
            # What was found counts even where there may be more.
            told = bool(found.issues) or not found.cannot_tell
            count = counted(float(len(found.issues))) if told else None
            doubts = [found.text] if found.cannot_tell else []
        gates.append(make_gate(name, limit, count, doubts, config.gates.undecided))
    return gates

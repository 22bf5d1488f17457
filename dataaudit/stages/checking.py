"""The checking stage: all checks beside wrong labels and leaks, and their gates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataaudit.checks.examined import Examined
from dataaudit.checks.running import refuse_unknown
from dataaudit.config import AuditConfig
from dataaudit.datasets.samples import Role
from dataaudit.inputs import AuditInputs
from dataaudit.report.data import CheckSection, Gate
from dataaudit.report.gates import counted, make_gate


def refuse_unknown_checks(config: AuditConfig) -> None:
    """Refuse names of checks that do not exist, and limits of those that are turned off.

    Raises
    ------
    ConfigError
        With the names that there are.
    """
    refuse_unknown(config.checks, "checks")
    refuse_unknown(config.gates.checks, "gates.checks")


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
    )


def check_gates(config: AuditConfig, sections: Sequence[CheckSection]) -> list[Gate]:
    """Return the gates of checks: the largest allowed number of things that each may find."""
    found = {section.name: section for section in sections}
    gates = []
    for name, limit in config.gates.checks.items():
        section = found.get(name)
        count = None if section is None else section.count
        doubts = () if section is None or section.outcome != "cannot tell" else (section.text,)
        gates.append(
            make_gate(
                name,
                limit,
                None if count is None else counted(float(count)),
                doubts,
                config.gates.undecided,
            )
        )
    return gates

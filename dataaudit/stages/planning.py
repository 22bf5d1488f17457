"""The cost of an audit, stated before it begins."""

from __future__ import annotations

from pathlib import Path

from dataaudit.config import GENERATIVE, AuditConfig, load_config
from dataaudit.errors import ConfigError
from dataaudit.inputs import Loaded
from dataaudit.mirror.effort import chosen_effort, costs
from dataaudit.stages.loading import load


def plan_file(audit_yaml: Path) -> list[str]:
    """Return what the audit in an `audit.yaml` would cost; what `dataaudit plan` prints.

    Raises
    ------
    DataAuditError
        The input cannot be used; the message says what and where.
    """
    config = load_config(audit_yaml)
    if config.task in GENERATIVE:
        raise ConfigError(f"task: {config.task} is not audited but traced, which has no plan")
    return cost_lines(load(config, audit_yaml.resolve().parent), config)


def cost_lines(loaded: Loaded, config: AuditConfig) -> list[str]:
    """Return a line for each effort, with passes and seconds, and the one that will be made."""
    chosen = chosen_effort(loaded, config)
    lines = []
    for cost in costs(loaded, config):
        mark = f" (mirror.effort: {config.mirror.effort})" if cost.effort == chosen else ""
        lines.append(
            f"{cost.effort}: at most {cost.passes:.1f} forward passes for each training row, about "
            f"{cost.seconds:,.0f} seconds{mark}"
        )
    return lines

"""`dataaudit plan`: what an audit would cost, before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import print_lines


def plan(
    audit_yaml: Annotated[Path, typer.Argument(help="What to audit; see README.")],
) -> None:
    """Say what the audit in AUDIT_YAML would cost at each effort; nothing is written."""
    from dataaudit.stages.planning import plan_file

    print_lines(plan_file(audit_yaml))

"""`dataaudit init`: an audit.yaml and a my_model.py to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataaudit.commands.shared import print_lines


def init(
    folder: Annotated[Path, typer.Argument(help="Where your data and weights are.")] = Path(),
) -> None:
    """Look at your files; write a commented audit.yaml and a my_model.py with one function to fill.

    Nothing that exists is overwritten.
    """
    from dataaudit.scaffold.write import init as write_scaffold

    print_lines(write_scaffold(folder))

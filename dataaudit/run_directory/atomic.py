"""Files that are either whole or not there."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

LEFTOVER = re.compile(r"\.dataaudit-[0-9a-f]{16}\.tmp(?:\.\w+)?")
"""The names of temporary files: nobody can guess the next one and lay a link in its place."""


def temporary_beside(target: Path, *, ending: str = "") -> Path:
    """Return a random name beside `target`; `ending` (".csv") stays its ending."""
    return target.with_name(f".dataaudit-{secrets.token_hex(8)}.tmp{ending}")


def create_exclusively(path: Path) -> None:
    """Create an empty file where there is nothing, not even a link.

    Raises
    ------
    OSError
        There is something, or the file cannot be created.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(path, flags, 0o666))


def write_atomically(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `target`, then rename it: finished = renamed."""
    temporary = temporary_beside(target)
    try:
        create_exclusively(temporary)
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

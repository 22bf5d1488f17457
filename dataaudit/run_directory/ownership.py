"""Whether a directory is dataaudit's own: told by what dataaudit wrote into it, never by names.

A directory in which a command works holds a folder `work` with a lock file that begins with
`MARK`. A directory that a command has finished holds that command's JSON file, with the keys that
it always has. Whatever else lies in a directory is somebody else's, and is never touched.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dataaudit.errors import RunDirectoryError
from dataaudit.run_directory.atomic import LEFTOVER

WORK = "work"
LOCK = "lock"
MARK = b"dataaudit works here\n"
LONGEST_MARK = 1 << 30
"""A JSON file of more bytes is not read to find out whose it is."""


@dataclass(frozen=True)
class Kind:
    """What one command leaves in its directory.

    Attributes
    ----------
    noun : str
        As in "holds a finished audit".
    files : tuple of str
        Everything that it writes.
    finished : str
        The JSON file among them that is written last: with it, the directory is finished.
    keys : tuple of str
        Keys that this file always has.
    kept : tuple of str
        What people added to it later by other commands, and no new run may replace.
    """

    noun: str
    files: tuple[str, ...]
    finished: str
    keys: tuple[str, ...]
    kept: tuple[str, ...] = ()

    def is_finished(self, directory: Path) -> bool:
        """Tell whether the directory holds what this command finished."""
        path = directory / self.finished
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > LONGEST_MARK:
                return False
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(content, dict) and all(key in content for key in self.keys)

    def refuse_foreign(self, directory: Path) -> None:
        """Raise a `RunDirectoryError` where anything is in the directory that is not its own."""
        names = {entry.name: entry for entry in os.scandir(directory)}
        if found := [name for name in self.kept if name in names]:
            raise RunDirectoryError(
                f"{directory}: holds decisions of reviewers ({found[0]}), which no {self.noun} "
                "replaces; choose another directory"
            )
        own = {name for name, entry in names.items() if self._may_be_own(entry)}
        if not self.is_finished(directory) and not is_work(directory / WORK):
            # Names alone prove nothing: a report.html may be anybody's.
            own = {name for name in own if self._is_leftover(name)}
        foreign = sorted(set(names) - own)
        if foreign:
            more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
            raise RunDirectoryError(
                f"{directory}: holds files that are no {self.noun}'s ({', '.join(foreign[:5])}"
                f"{more}); choose an empty directory"
            )

    def leftovers(self, directory: Path) -> list[Path]:
        """Return temporary files of commands that were killed."""
        entries = [entry for entry in os.scandir(directory) if self._is_leftover(entry.name)]
        return [Path(entry.path) for entry in entries if self._may_be_own(entry)]

    def _may_be_own(self, entry: os.DirEntry[str]) -> bool:
        if entry.is_symlink():
            return False
        if entry.name == WORK:
            return is_work(Path(entry.path))
        if LEFTOVER.fullmatch(entry.name) and entry.is_dir():
            # On its way to become `work`, or to be removed.
            return is_work(Path(entry.path)) or not any(os.scandir(entry.path))
        return entry.name in self.files or self._is_leftover(entry.name)

    def _is_leftover(self, name: str) -> bool:
        # Earlier versions named them after the file and their process.
        old = "|".join(map(re.escape, self.files))
        return bool(LEFTOVER.fullmatch(name) or re.fullmatch(rf"\.(?:{old})\.\d+\.tmp", name))


def is_work(folder: Path) -> bool:
    """Tell whether a folder is one that a command of dataaudit works in."""
    lock = folder / LOCK
    try:
        if folder.is_symlink() or lock.is_symlink() or not lock.is_file():
            return False
        with lock.open("rb") as file:
            return file.read(len(MARK)) == MARK
    except OSError:
        return False


def first_link(folder: Path) -> Path | None:
    """Return a link that lies in a folder, at any depth, or None."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if (Path(place) / name).is_symlink():
                return Path(place) / name
    return None

"""Which files of one kind a path means: one file, a folder of them, or a pattern of names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from dataaudit.datasets.files import inside, readable
from dataaudit.errors import DataError

ENDING = ".tar"
MOST_SHARDS = 100_000

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_PATTERN = re.compile(r"[*?\[{]")


def shard_paths(path: Path, ending: str = ENDING) -> list[Path] | None:
    """Return the shards that a path means, in order, or None where it means none.

    Parameters
    ----------
    path : Path
        A file ending in `.tar`; a folder that holds such files; or a pattern for their names, with
        `{000..127}` or `{a,b}` for names that must all be there, and `*`, `?`, `[0-9]` for
        whichever are. Only the last part of the path may be a pattern.
    ending : str
        What the names of such files end in.

    Raises
    ------
    DataError
        A pattern that nothing fits, a name that is not there, or a link out of the folder.
    """
    with readable(str(path), f"{ending} files"):
        if path.is_dir():
            found = sorted(
                (each for each in path.glob(f"*{ending}") if not each.name.startswith((".", "_"))),
                key=lambda entry: entry.name,
            )
            return [_within(path, entry.name) for entry in found] or None
        if path.suffix.lower() != ending:
            return None
        if path.exists() or not _PATTERN.search(path.name):
            return [path] if path.is_file() else None
        return [_within(path.parent, name) for name in _names(path)]


def _names(pattern: Path) -> Iterator[str]:
    names: dict[str, None] = {}
    for number, name in enumerate(_expanded(pattern.name, pattern)):
        if re.search(r"[*?\[]", name):
            fitting = sorted(found.name for found in pattern.parent.glob(name))
            # As in a folder: what a system or a writer laid beside the parts is none of them.
            hidden = () if name.startswith((".", "_")) else (".", "_")
            names.update(dict.fromkeys(each for each in fitting if not each.startswith(hidden)))
        else:
            names[name] = None
        if len(names) > MOST_SHARDS or number >= MOST_SHARDS:
            raise DataError(f"{pattern}: means more than {MOST_SHARDS} shards")
    if not names:
        raise DataError(f"{pattern}: there is no such file, and no name fits this pattern")
    yield from names


def _expanded(name: str, pattern: Path) -> Iterator[str]:
    """Yield the names that the first pair of braces stands for, and so on."""
    braces = _BRACES.search(name)
    if braces is None:
        yield name
        return
    numbers = _RANGE.fullmatch(braces[1])
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        if not 0 <= last - first < MOST_SHARDS:
            raise DataError(
                f"{pattern}: {braces[0]} means {last - first + 1} names; expected 1 to "
                f"{MOST_SHARDS}"
            )
        width = len(numbers[1])
        options: Iterator[str] = (f"{number:0{width}d}" for number in range(first, last + 1))
    else:
        options = iter(braces[1].split(","))
    for option in options:
        yield from _expanded(name[: braces.start()] + option + name[braces.end() :], pattern)


def _within(folder: Path, name: str) -> Path:
    if inside(folder, name) is None:
        raise DataError(
            f"{folder / name}: there is no such file, or it is a link that leads out of the folder"
        )
    return folder / name

"""Files on a store, copied into a folder here, once for each version of them.

The copies lie in `$DATAAUDIT_CACHE`, else in `dataaudit` in the user's folder for caches, under
the names that they have on the store. They stay, for the commands that come after an audit.
"""

from __future__ import annotations

import fnmatch
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataaudit.errors import DataError, writing
from dataaudit.progress import track
from dataaudit.storage.store import Store, place_of

VERSIONS = ".versions"
"""The folder of what tells which version of a file was copied."""
_TELLING = (
    "ETag",
    "etag",
    "md5Hash",
    "blob_id",
    "LastModified",
    "last_modified",
    "mtime",
    "created",
)
_PATTERN = re.compile(r"[*?\[{]")


def here(path: Path) -> Path:
    """Return a path here for one that may be a place on a store: that of a copy of what lies there.

    Parameters
    ----------
    path : Path
        A file, a folder, or a pattern of names in one, as for shards.

    Raises
    ------
    ConfigError
        The place holds a password, or nothing installed knows such places.
    DataError
        There is nothing, or it cannot be read.
    """
    place = place_of(path)
    if place is None:
        return path
    folder, _, name = place.rpartition("/")
    if _PATTERN.search(name):
        return _copied(folder, re.sub(r"\{[^{}]*\}", "*", name)) / name
    return _copied(place, None)


def cache() -> Path:
    """Return the folder of copies."""
    given = os.environ.get("DATAAUDIT_CACHE")
    if given:
        return Path(given).absolute()
    general = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(general) / "dataaudit"


def _copied(place: str, pattern: str | None) -> Path:
    store = Store.at(place)
    found = store.listing()
    wanted = {below: facts for below, facts in found.items() if _fits(below, pattern)}
    if not wanted:
        nothing = f"no file there fits {pattern}" if pattern else "there is no such file or folder"
        raise DataError(f"{place}: {nothing}")
    protocol, _, rest = place.partition("://")
    below_cache = Path(protocol, *_parts(rest))
    target = cache() / below_cache
    with writing(target, DataError):
        for below, facts in track(sorted(wanted.items()), f"copying from {protocol}"):
            _copy(store, below, facts, below_cache.joinpath(*_parts(below)))
        if "" not in wanted:
            _remove_others(target, {"/".join(_parts(below)) for below in wanted}, pattern)
    return target


def _fits(below: str, pattern: str | None) -> bool:
    return pattern is None or ("/" not in below and fnmatch.fnmatchcase(below, pattern))


def _parts(name: str) -> list[str]:
    """Return the parts of a name on a store, none of which leads out of a folder here."""
    parts = [part for part in name.split("/") if part]
    if any(part in (".", "..") or "\0" in part or "\\" in part for part in parts):
        raise DataError(f"{name}: no file here can have such a name")
    return parts


def _copy(store: Store, below: str, facts: Mapping[str, Any], name: Path) -> None:
    target, known = cache() / name, _record_of(name)
    version, size = _version(facts), facts.get("size")
    if not isinstance(size, int):
        raise DataError(
            f"{store.place}: the store does not say how many bytes {below or 'the file'} has"
        )
    if version is not None and _is_copied(target, known, version, size):
        return
    for path in (target, known):
        path.parent.mkdir(parents=True, exist_ok=True)
    # Of no version yet; but what lies there is a copy of ours, and may be removed as one.
    known.write_text("", encoding="utf-8")
    handle, made = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".copying")
    temporary = Path(made)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in store.chunks(below, size):
                file.write(chunk)
        again = store.tried(lambda: store.files.info(store.path(below)), "read")
        if _version(again) != version:
            raise DataError(f"{store.place}: was changed while it was read; start again")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    known.write_text(version or "", encoding="utf-8")


def _version(facts: Mapping[str, Any]) -> str | None:
    told = [f"{name} {facts[name]}" for name in _TELLING if facts.get(name)]
    return f"{facts.get('size')} {told[0]}" if told else None


def _is_copied(target: Path, known: Path, version: str, size: int) -> bool:
    try:
        return known.read_text(encoding="utf-8") == version and target.stat().st_size == size
    except OSError:
        return False


def _remove_others(folder: Path, wanted: set[str], pattern: str | None) -> None:
    """Remove copies of files that are no longer on the store, and nothing that is no copy."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        below, known = path.relative_to(folder).as_posix(), _record_of(path.relative_to(cache()))
        if below not in wanted and _fits(below, pattern) and known.is_file():
            path.unlink()
            known.unlink()


def _record_of(name: Path) -> Path:
    """Return the file that says which version of a file was copied."""
    return cache() / VERSIONS / name

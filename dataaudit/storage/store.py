"""An object store: `s3://`, `gs://`, `hf://` and whatever else fsspec knows, with retries.

Nothing is looked for on a network unless somebody wrote such a place. Who may read it is the
environment's affair (variables, files and roles, as the store's own tools have them): a place that
holds a password is refused, and no message repeats a secret of the environment.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dataaudit.errors import ConfigError, DataError

Result = TypeVar("Result")

TRIES = 6
FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0
"""Seconds between two tries; each wait is twice the one before."""
CHUNK_BYTES = 16 * 1024 * 1024
"""So much is read at once, and in memory."""

# pathlib makes one slash of two. A single letter is a drive of Windows.
_PLACE = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL)
_HERE = ("file", "local")
_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|PASSPHRASE|ACCESS_KEY|API_KEY|CREDENTIAL")
_FINAL = (FileNotFoundError, PermissionError, NotADirectoryError, ImportError)
_FINAL_NAMES = ("NoCredentialsError", "PartialCredentialsError", "RepositoryNotFoundError")
"""Errors that another try does not mend."""


def place_of(path: Path | str) -> str | None:
    """Return a place on a store as it was written, `s3://bucket/name`; None for a path here.

    Raises
    ------
    ConfigError
        The place holds a user, a password or a query, or is one that no store has.
    """
    found = _PLACE.fullmatch(Path(path).as_posix())
    if found is None:
        return None
    protocol, rest = found.groups()
    host = rest.partition("/")[0]
    if "@" in host:
        raise ConfigError(
            f"{protocol}://…@{host.rpartition('@')[2]}: a place may not hold a user or a password, "
            "which would end up in reports; give them to the environment, as the store's own tools "
            "expect them"
        )
    if "?" in rest and protocol in ("http", "https"):
        raise ConfigError(
            f"{protocol}://{rest.partition('?')[0]}?…: a place may not hold a query, which may be "
            "a signature; expected one that the environment has the rights to read"
        )
    if protocol in _HERE or "::" in rest or not host:
        raise ConfigError(
            f"{protocol}://{rest}: expected the path of a file, or a place such as s3://bucket/name"
        )
    return f"{protocol}://{rest}"


@dataclass(frozen=True)
class Store:
    """A place on a store, and what reads and writes there.

    Attributes
    ----------
    place : str
        As from `place_of`.
    files : fsspec.AbstractFileSystem
    root : str
        The place as `files` names it.
    """

    place: str
    files: Any
    root: str

    @classmethod
    def at(cls, place: str) -> Store:
        """Return the store of a place.

        Raises
        ------
        ConfigError
            The package that knows such places is not installed, or nothing knows them.
        """
        import fsspec

        try:
            files, root = fsspec.core.url_to_fs(place, use_listings_cache=False)
        except ImportError as error:
            raise ConfigError(
                f"{place}: needs a package that is not installed ({error}); install "
                "dataaudit[storage], or for gs:// gcsfs"
            ) from None
        except ValueError as error:
            raise ConfigError(f"{place}: {_said(error)}") from None
        return cls(place, files, root.rstrip("/"))

    def tried(self, work: Callable[[], Result], deed: str) -> Result:
        """Return what `work` returns, tried again where a store or the way to it fails.

        Raises
        ------
        DataError
            It fails every time, or in a way that does not pass.
        """
        wait = FIRST_WAIT
        for left in reversed(range(TRIES)):
            try:
                return work()
            except Exception as error:
                final = isinstance(error, _FINAL) or type(error).__name__ in _FINAL_NAMES
                if final or left == 0:
                    times = "" if final else f" {TRIES} times"
                    # Not as its cause: a failing store is no input that has to change.
                    raise DataError(
                        f"{self.place}: cannot be {deed}{times}: {type(error).__name__}: "
                        f"{_said(error)}"
                    ) from OSError(str(type(error)))
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
        raise AssertionError("unreachable")

    def listing(self) -> dict[str, Mapping[str, Any]]:
        """Return what lies there, by its path below the place: "" where the place is a file.

        Raises
        ------
        DataError
            It cannot be listed.
        """

        def look() -> dict[str, Mapping[str, Any]]:
            self.files.invalidate_cache()
            try:
                found = self.files.find(self.root, detail=True)
            except FileNotFoundError:
                return {}
            return {
                name[len(self.root) :].lstrip("/"): facts
                for name, facts in found.items()
                if facts.get("type") != "directory" and (name + "/").startswith(self.root + "/")
            }

        return self.tried(look, "listed")

    def chunks(self, below: str, size: int) -> Iterator[bytes]:
        """Yield the content of a file in pieces, each tried again by itself.

        Raises
        ------
        DataError
            It cannot be read.
        """
        name = self.path(below)

        def piece(start: int, stop: int) -> bytes:
            found: bytes = self.files.cat_file(name, start=start, end=stop)
            if len(found) != stop - start:
                raise OSError(f"{len(found)} bytes came where {stop - start} were asked for")
            return found

        for start in range(0, size, CHUNK_BYTES):
            stop = min(start + CHUNK_BYTES, size)
            yield self.tried(partial(piece, start, stop), "read")

    def write(self, below: str, file: Path) -> None:
        """Copy a file from here; it is there when it is there as a whole.

        Raises
        ------
        DataError
            It cannot be written.
        """
        self.tried(lambda: self.files.put_file(str(file), self.path(below)), "written")

    def remove(self, below: str) -> None:
        """Remove a file that may be there.

        Raises
        ------
        DataError
            It cannot be removed.
        """

        def work() -> None:
            try:
                self.files.rm_file(self.path(below))
            except FileNotFoundError:
                return

        self.tried(work, "removed")

    def path(self, below: str) -> str:
        """Return a file's path as `files` names it."""
        return f"{self.root}/{below}" if below else self.root


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200]
    for name, value in os.environ.items():
        if _SECRET.search(name.upper()) and len(value) >= 4:
            text = text.replace(value, "…")
    return text

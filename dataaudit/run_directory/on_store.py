"""A run directory on an object store: worked in here, copied there step by step.

A finished step is copied within `SECONDS_APART`; so an audit that is killed goes on from there,
on this machine or another, and does again what it finished in the last seconds. A store has no
locks: that nobody else audits into the same place is for the user to see to.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from dataaudit.errors import DataAuditError, RunDirectoryError
from dataaudit.run_directory.ownership import LOCK, WORK
from dataaudit.run_directory.steps import ENDING
from dataaudit.run_directory.store import AUDITS, FINGERPRINT
from dataaudit.storage.store import Store, place_of

SECONDS_APART = 1.0


@contextlib.contextmanager
def worked_in_here(out: Path) -> Iterator[Path]:
    """Give the directory to work in: `out` itself, or a folder here that is copied to a store.

    Raises
    ------
    ConfigError
        The place holds a password, or nothing installed knows such places.
    RunDirectoryError
        The place holds something else, or cannot be read or written.
    """
    place = place_of(out)
    if place is None:
        yield out
        return
    folder = Path(tempfile.mkdtemp(prefix="dataaudit-"))
    try:
        with _Copies(Store.at(place), folder).made_meanwhile(), _named(folder, place):
            yield folder
    except _NotCopiedError:
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _named(folder: Path, place: str) -> Iterator[None]:
    """Have errors name the place on the store in which somebody asked for the audit."""
    try:
        yield
    except BaseException as error:
        notes = [note.replace(str(folder), place) for note in getattr(error, "__notes__", [])]
        if isinstance(error, DataAuditError):
            error = type(error)(str(error).replace(str(folder), place))
        error.__notes__ = notes
        raise error from error.__cause__


class _NotCopiedError(RunDirectoryError):
    """What was finished here could not be copied to the store."""


class _Copies:
    """What lies on the store of a directory here."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        listed = store.listing()
        # A store's names may climb up, as no folder's do: nothing is written outside of this one.
        foreign = [name for name in listed if not _is_own(name) or ".." in name.split("/")]
        if foreign:
            raise RunDirectoryError(
                f"{store.place}: holds files that are no audit's ({', '.join(foreign[:5])}); "
                "choose an empty place"
            )
        self._there: dict[str, tuple[int, int] | None] = {}
        for name, facts in listed.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for chunk in store.chunks(name, int(facts["size"])):
                    file.write(chunk)
            self._there[name] = _state(path)

    @contextlib.contextmanager
    def made_meanwhile(self) -> Iterator[None]:
        """Copy finished steps while the `with` block runs, and at its end what it left."""
        over = threading.Event()

        def go_on() -> None:
            while not over.wait(SECONDS_APART):
                # What a store does not take now it is given later, at the latest at the end.
                with contextlib.suppress(DataAuditError):
                    self._copy_new(results=False)

        thread = threading.Thread(target=go_on, name="copying", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            try:
                self._copy_new(results=True)
            except DataAuditError as error:
                raise _NotCopiedError(
                    f"{error}; what was finished is kept in {self._folder}"
                ) from error

    def _copy_new(self, results: bool) -> None:
        """Copy what is new or was changed, and remove what is no longer here.

        `manifest.json` says that an audit is finished: it goes first where it is old, and comes
        last where it is new; steps go after that.
        """
        here = {name: _state(path) for name, path in self._own_files() if results or _is_step(name)}
        new = [name for name, state in here.items() if self._there.get(name) != state]
        old = [name for name in self._there if name not in here and (results or _is_step(name))]
        finished = AUDITS.finished
        if finished in self._there and (finished in new or finished in old):
            self._remove(finished)
        for name in sorted(new, key=lambda name: (name == finished, _is_step(name), name)):
            self._store.write(name, self._folder / name)
            self._there[name] = here[name]
        for name in old:
            if name != finished:
                self._remove(name)

    def _own_files(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if _is_own(name) and path.is_file():
                yield name, path

    def _remove(self, name: str) -> None:
        self._store.remove(name)
        self._there.pop(name, None)


def _is_own(name: str) -> bool:
    return name in AUDITS.files or name in AUDITS.kept or _is_step(name)


def _is_step(name: str) -> bool:
    inside = name.startswith(f"{WORK}/")
    return inside and (name.endswith(ENDING) or name in (f"{WORK}/{LOCK}", f"{WORK}/{FINGERPRINT}"))


def _state(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written anew; None where it is gone."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns

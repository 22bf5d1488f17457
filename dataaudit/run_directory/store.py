"""The run directory: the only place an audit writes to, and only by finished renames."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from dataaudit.errors import ConfigError, DataError, RunDirectoryError
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.fingerprint import Fingerprint
from dataaudit.run_directory.locks import BusyError, FileLock
from dataaudit.run_directory.steps import Steps

REPORT = "report.html"
MISLABELS = "mislabels.parquet"
CONTAMINATION = "contamination.parquet"
SET_ASIDE = "set_aside.parquet"
AUDIT = "audit.json"
MANIFEST = "manifest.json"
REMEDIATION = "remediation.jsonl"
SAMPLE = "sample.json"
ESTIMATE = "estimate.json"
CLAIMED = "mislabels.claimed.parquet"
"""The table as the audit made it, kept when reviewed rows correct its probabilities."""
RESULTS = (MISLABELS, CONTAMINATION, SET_ASIDE, AUDIT, REPORT, MANIFEST)
Writer = Callable[[Path], object]
_WORK = "work"
_LOCK = "lock"
_FINGERPRINT = "fingerprint.json"
_LEFTOVER = re.compile(r"\..+\.\d+\.tmp")


class RunDirectory:
    """A directory that one audit writes.

    Use it as a context manager: it is locked inside. Finished steps are kept in its folder `work`
    until the audit is finished, so that an interrupted audit can be resumed.

    Parameters
    ----------
    path : Path
        Created where it is missing.
    overwrite : bool
        Whether a finished audit may be replaced and an unfinished one thrown away.
    resume : bool
        Whether to go on with an unfinished audit; where there is none, a new one begins.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = path.absolute()
        self.notes: list[str] = []
        self._begun = False
        self._overwrite = overwrite
        self._resume = resume
        self._work = self.path / _WORK
        self._lock = FileLock(self._work / _LOCK)

    def __enter__(self) -> RunDirectory:
        """Create and lock the directory.

        Raises
        ------
        RunDirectoryError
            It cannot be written, holds something else, a finished audit, an unfinished one that
            is not to be resumed, or a running one.
        """
        names = self._names()
        # Before the lock, which a directory that may only be read does not allow.
        if MANIFEST in names and not self._overwrite and not self._resume:
            self._refuse_finished()
        self._take_lock()
        try:
            self._choose_start()
        except BaseException:
            self._leave(keep=self._is_unfinished())
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the folder `work`, unless the audit stopped with finished steps of use in it."""
        # What an earlier run left stays until this one has begun.
        useless = error is None or (self._begun and _must_change_input(error))
        keep = not useless and bool(self._steps())
        if error is not None and keep and self._begun:
            error.add_note(
                f"What was finished is kept in {self.path}: the same command with --resume goes "
                "on from there."
            )
        self._leave(keep=keep)

    def _names(self) -> set[str]:
        path = self.path
        try:
            path.mkdir(parents=True, exist_ok=True)
            names = {entry.name for entry in path.iterdir()}
        except (FileExistsError, NotADirectoryError):
            raise RunDirectoryError(f"{path}: is a file; expected a directory") from None
        except OSError as error:
            raise RunDirectoryError(f"{path}: cannot be created: {error.strerror}") from None
        if REMEDIATION in names:
            raise RunDirectoryError(
                f"{path}: holds decisions of reviewers ({REMEDIATION}), which no audit replaces; "
                "choose another directory"
            )
        foreign = sorted(
            name for name in names - {*RESULTS, _WORK} if not _LEFTOVER.fullmatch(name)
        )
        if foreign:
            raise RunDirectoryError(
                f"{path}: holds files that are no audit's ({', '.join(foreign[:5])}); "
                "choose an empty directory"
            )
        return names

    def _take_lock(self) -> None:
        try:
            self._work.mkdir(exist_ok=True)
            self._lock.acquire()
        except BusyError:
            raise RunDirectoryError(
                f"{self.path}: another audit is running in it; choose another directory, or wait"
            ) from None
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _choose_start(self) -> None:
        unfinished = self._is_unfinished()
        # Another audit may have finished between the first look and the lock.
        if (self.path / MANIFEST).exists() and not self._overwrite and not unfinished:
            self._refuse_finished()
        if unfinished and not self._resume and not self._overwrite:
            raise RunDirectoryError(
                f"{self.path}: holds an unfinished audit ({len(self._steps())} finished steps); "
                "pass --resume to go on with it, or --overwrite to start over"
            )
        if not self._resume:
            for entry in self._work.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name != _LOCK:
                    entry.unlink()
        for entry in self.path.iterdir():
            if _LEFTOVER.fullmatch(entry.name):
                entry.unlink()

    def _refuse_finished(self) -> None:
        unfinished = ", --resume to go on with the unfinished one in it"
        raise RunDirectoryError(
            f"{self.path}: holds a finished audit; choose another directory, or pass --overwrite"
            f"{unfinished if self._is_unfinished() else ''}"
        )

    def _is_unfinished(self) -> bool:
        return (self._work / _FINGERPRINT).exists() or bool(self._steps())

    def _steps(self) -> list[Path]:
        return list(self._work.rglob("*.step"))

    def _leave(self, *, keep: bool) -> None:
        if not keep:
            # Still locked, so that nobody begins in a folder that is being removed.
            shutil.rmtree(self._work, ignore_errors=True)
        self._lock.release()

    def begin(self, fingerprint: Fingerprint) -> Steps:
        """Return the store of finished steps, once it is sure that they were made from the same.

        Parameters
        ----------
        fingerprint : Fingerprint
            Of all that this audit's steps are made from.

        Raises
        ------
        RunDirectoryError
            The finished steps were made from something else; the message says what changed.
        """
        path = self._work / _FINGERPRINT
        before = Fingerprint.read(path) if path.exists() else fingerprint
        if before is None:
            self.notes.append(f"{_FINGERPRINT} was damaged; each finished step was checked alone")
        elif changes := before.changes(fingerprint):
            raise RunDirectoryError(
                f"{self.path}: cannot be resumed, because it was begun with something else: "
                f"{'; '.join(changes)}. Restore that, or pass --overwrite to start over"
            )
        found = len(self._steps())
        if found:
            self.notes.append(
                "The audit was interrupted and resumed; "
                f"{found} finished {'step was' if found == 1 else 'steps were'} there"
            )
        self._write(path, text(fingerprint.as_json()))
        self._begun = True
        return Steps(self._work, fingerprint.sha256, self.notes)

    def publish(self, results: Mapping[str, Writer]) -> None:
        """Write the results of the finished audit; those of an earlier one stay until all are.

        Parameters
        ----------
        results : mapping of name to writer
            In the order of renaming, the manifest last: a directory with a manifest holds a
            finished audit.

        Raises
        ------
        RunDirectoryError
            One cannot be written: a full disk, say. Then none has been replaced.
        """
        waiting = self._work / "results"
        for name, write in results.items():
            self._write(waiting / name, write)
        try:
            # From here on an earlier manifest no longer describes what lies beside it.
            for name in (MANIFEST, *RESULTS):
                if name not in results or name == MANIFEST:
                    (self.path / name).unlink(missing_ok=True)
            for name in results:
                (waiting / name).replace(self.path / name)
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _write(self, path: Path, write: Writer) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, write)
        except OSError as error:
            raise RunDirectoryError(
                f"{path}: cannot be written: {error.strerror or error}"
            ) from None


def _must_change_input(error: BaseException) -> bool:
    """Tell whether the audit stopped at an input that has to change, so that no step fits it.

    A file that could not be read just now is none.
    """
    return isinstance(error, DataError | ConfigError) and not isinstance(error.__cause__, OSError)


def table(content: pd.DataFrame) -> Writer:
    """Return what writes a table as Parquet."""
    return lambda path: content.to_parquet(path, index=False)


def text(content: str) -> Writer:
    """Return what writes a UTF-8 text file."""
    return lambda path: path.write_text(content, encoding="utf-8")


def as_json(content: Any) -> Writer:
    """Return what writes a JSON file, indented, keys in the order given."""
    return text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

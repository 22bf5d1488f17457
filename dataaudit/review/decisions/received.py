"""`decisions.csv` of a run directory: what the page that is served has decided so far."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from dataaudit.errors import DataAuditError, DataError, RunDirectoryError
from dataaudit.review.decisions.csv import read_csv
from dataaudit.review.decisions.log import with_earlier
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.finished import FinishedAudit, as_read_back
from dataaudit.run_directory.store import AUDIT, DECISIONS, amending


class OutdatedError(Exception):
    """The decisions were made from an earlier version of the file."""


class ReceivedDecisions:
    """The file, whole or as it was before, whoever sends what.

    Parameters
    ----------
    directory : Path
        A finished audit.

    Raises
    ------
    DataAuditError
        There is no finished audit, or the file is there and does not fit it.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / DECISIONS
        self._directory = directory
        self._one_at_a_time = threading.Lock()
        self._opened: tuple[tuple[int, int], FinishedAudit] | None = None
        with as_read_back(directory):
            audit = self.audit()
            if self.path.exists():
                _check(audit, self.path)

    def audit(self) -> FinishedAudit:
        """Return the audit as it is now: `relabel` may have changed it in the meantime."""
        path = self._directory / AUDIT
        if not path.exists():
            raise RunDirectoryError(f"{self._directory}: holds no finished audit")
        state = path.stat()
        stamp = state.st_ino, state.st_mtime_ns
        if self._opened is None or self._opened[0] != stamp:
            self._opened = stamp, FinishedAudit.open(self._directory)
        return self._opened[1]

    def content(self) -> bytes:
        """Return the file; nothing where there is none yet."""
        return self.path.read_bytes() if self.path.exists() else b""

    def replace(self, content: bytes, version: str) -> str:
        """Put `content` in place of the file that has this version, and return the new version.

        Raises
        ------
        OutdatedError
            The file has another version by now.
        DataAuditError
            A decision does not fit the audit, or another command is at work in the directory.
        """

        def write(path: Path) -> None:
            path.write_bytes(content)
            try:
                _check(self.audit(), path)
            except DataAuditError as error:
                raise DataError(str(error).replace(str(path), DECISIONS)) from None

        with self._one_at_a_time, amending(self._directory):
            if version_of(self.content()) != version:
                raise OutdatedError
            with as_read_back(self._directory):
                write_atomically(self.path, write)
        return version_of(content)


def version_of(content: bytes) -> str:
    """Return what tells one version of the file from another."""
    return hashlib.sha256(content).hexdigest()


def _check(audit: FinishedAudit, path: Path) -> None:
    """Refuse what `relabel` would refuse."""
    with_earlier(audit, read_csv(path))

"""The run directory: the only place an audit writes to, and only by finished renames."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from dataaudit.errors import RunDirectoryError

REPORT = "report.html"
MISLABELS = "mislabels.parquet"
CONTAMINATION = "contamination.parquet"
AUDIT = "audit.json"
MANIFEST = "manifest.json"
REMEDIATION = "remediation.jsonl"
RESULTS = (MISLABELS, CONTAMINATION, AUDIT, REPORT, MANIFEST)
_WORK = "work"
_LOCK = "work/lock"


class RunDirectory:
    """A directory that one audit writes.

    Use it as a context manager: it is locked inside, and its scratch folder `work` is removed
    when the audit has finished.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path.absolute()
        self._overwrite = overwrite

    def __enter__(self) -> RunDirectory:
        """Create and lock the directory.

        Raises
        ------
        RunDirectoryError
            It cannot be written, holds something else, a finished audit, or a running one.
        """
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
        foreign = sorted(names - {*RESULTS, _WORK})
        if foreign:
            raise RunDirectoryError(
                f"{path}: holds files that are no audit's ({', '.join(foreign[:5])}); "
                "choose an empty directory"
            )
        if MANIFEST in names and not self._overwrite:
            raise RunDirectoryError(
                f"{path}: holds a finished audit; choose another directory, or pass --overwrite"
            )
        self._lock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the scratch folder and with it the lock; an earlier audit's results stay."""
        shutil.rmtree(self.path / _WORK, ignore_errors=True)

    @property
    def work(self) -> Path:
        """The scratch folder."""
        return self.path / _WORK

    def _lock(self) -> None:
        try:
            self.work.mkdir(exist_ok=True)
            lock = self.path / _LOCK
            if lock.exists() and not _process_runs(lock.read_text(encoding="ascii")):
                shutil.rmtree(self.work)
                self.work.mkdir()
            with lock.open("x", encoding="ascii") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            raise RunDirectoryError(
                f"{self.path}: another audit is running in it; choose another directory"
            ) from None
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be written: {error.strerror}") from None

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as Parquet."""
        self._write(name, lambda path: table.to_parquet(path, index=False))

    def write_text(self, name: str, text: str) -> None:
        """Write a UTF-8 text file."""
        self._write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file, indented, keys in the order given."""
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        self.write_text(name, text + "\n")

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        try:
            write_atomically(self.path / name, write)
        except OSError as error:
            raise RunDirectoryError(
                f"{self.path / name}: cannot be written: {error.strerror or error}"
            ) from None


def write_atomically(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `target`, then rename it: finished = renamed."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _process_runs(process_id: str) -> bool:
    try:
        os.kill(int(process_id), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True

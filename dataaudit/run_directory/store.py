"""The directory of a command: the only place it writes to, and only by finished renames."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from dataaudit.errors import ConfigError, DataError, RunDirectoryError, writing
from dataaudit.run_directory.atomic import remove, temporary_beside, write_atomically
from dataaudit.run_directory.fingerprint import Fingerprint
from dataaudit.run_directory.locks import BusyError, FileLock
from dataaudit.run_directory.ownership import LOCK, MARK, WORK, Kind, first_link, is_work
from dataaudit.run_directory.steps import Steps
from dataaudit.storage.store import place_of

REPORT = "report.html"
MISLABELS = "mislabels.parquet"
CONTAMINATION = "contamination.parquet"
SET_ASIDE = "set_aside.parquet"
ISSUES = "issues.parquet"
ANNOTATORS = "annotators.parquet"
CONSENSUS = "consensus.parquet"
AUDIT = "audit.json"
MANIFEST = "manifest.json"
REMEDIATION = "remediation.jsonl"
DECISIONS = "decisions.csv"
"""What `dataaudit review --serve` takes in, until `relabel` logs it."""
SAMPLE = "sample.json"
ESTIMATE = "estimate.json"
CERTIFICATE = "certificate.json"
CLAIMED = "mislabels.claimed.parquet"
"""The table as the audit made it, kept when reviewed rows correct its probabilities."""
RESULTS = (
    MISLABELS,
    CONTAMINATION,
    SET_ASIDE,
    ISSUES,
    ANNOTATORS,
    CONSENSUS,
    CERTIFICATE,
    AUDIT,
    REPORT,
    MANIFEST,
)
AUDITS = Kind(
    "audit",
    RESULTS,
    MANIFEST,
    ("inputs", "settings"),
    kept=(DECISIONS, REMEDIATION, SAMPLE, ESTIMATE, CLAIMED),
)
ROWS_PER_PART = 2**17
Writer = Callable[[Path], object]
FINGERPRINT = "fingerprint.json"


class ResultsDirectory:
    """A directory that one command writes.

    Use it as a context manager: it is locked inside. What the command writes waits in the folder
    `work` until all of it is finished; results of an earlier run stay until then.

    Parameters
    ----------
    path : Path
        Created where it is missing.
    kind : Kind
        What the command writes.
    overwrite : bool
        Whether results of an earlier run may be replaced.
    """

    def __init__(self, path: Path, kind: Kind, *, overwrite: bool = False) -> None:
        if place_of(path) is not None:
            raise ConfigError(
                f"{place_of(path)}: only audits by `dataaudit run` are written to a store, no "
                "traces and no other results; expected a directory on this machine"
            )
        self.path = path.absolute()
        self.kind = kind
        self._overwrite = overwrite
        self._work = self.path / WORK
        self._lock = FileLock(self._work / LOCK)

    def __enter__(self) -> Self:
        """Create and lock the directory.

        Raises
        ------
        RunDirectoryError
            It cannot be written, holds something else, finished results that may not be replaced,
            or another command is running in it.
        """
        self._look()
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
        """Remove the folder `work`, and give the lock back."""
        self._leave(keep=False)

    def publish(self, results: Mapping[str, Writer]) -> None:
        """Write the finished results; those of an earlier run stay until all are written.

        Parameters
        ----------
        results : mapping of name to writer
            In the order of renaming, `kind.finished` last: with it, the directory is finished.

        Raises
        ------
        RunDirectoryError
            One cannot be written: a full disk, say. Then none has been replaced.
        """
        waiting = self._work / "results"
        for name, write in results.items():
            self._write(waiting / name, write)
        last = self.kind.finished
        with writing(self.path):
            # From here on the earlier one no longer describes what lies beside it.
            for name in (last, *self.kind.files):
                if name not in results or name == last:
                    remove(self.path / name)
            for name in results:
                (waiting / name).replace(self.path / name)

    def clear(self) -> None:
        """Remove the results of an earlier run, for a command that writes its own in place.

        Raises
        ------
        RunDirectoryError
            One cannot be removed.
        """
        with writing(self.path):
            for name in (self.kind.finished, *self.kind.files):
                remove(self.path / name)

    def _look(self) -> None:
        path = self.path
        with writing(path, deed="created"):
            try:
                path.mkdir(parents=True, exist_ok=True)
                self.kind.refuse_foreign(path)
            except (FileExistsError, NotADirectoryError):
                raise RunDirectoryError(f"{path}: is a file; expected a directory") from None
        # Before the lock, which a directory that may only be read does not allow.
        if self._is_protected():
            self._refuse_finished()

    def _is_protected(self) -> bool:
        """Tell whether what the directory holds may not be replaced."""
        return not self._overwrite and self.kind.is_finished(self.path)

    def _take_lock(self) -> None:
        try:
            with writing(self.path):
                make_work(self._work)
                self._lock.acquire()
        except BusyError:
            raise RunDirectoryError(
                f"{self.path}: another {self.kind.noun} is running in it; choose another "
                "directory, or wait"
            ) from None

    def _choose_start(self) -> None:
        # Another run may have finished between the first look and the lock.
        if self._is_protected():
            self._refuse_finished()
        self._start_over()

    def _start_over(self) -> None:
        with writing(self.path):
            for entry in self._work.iterdir():
                if entry.name != LOCK:
                    remove(entry)
            for entry in self.kind.leftovers(self.path):
                remove(entry)

    def _refuse_finished(self) -> None:
        raise RunDirectoryError(
            f"{self.path}: holds a finished {self.kind.noun}; choose another directory, or pass "
            "--overwrite"
        )

    def _is_unfinished(self) -> bool:
        return False

    def _leave(self, *, keep: bool) -> None:
        if not keep:
            # Still locked, so that nobody begins in a folder that is being removed.
            remove_work(self._work)
        self._lock.release()

    def _write(self, path: Path, write: Writer) -> None:
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, write)


class RunDirectory(ResultsDirectory):
    """A directory that one audit writes, or one trace.

    Finished steps are kept in its folder `work` until the audit is finished, so that an
    interrupted audit can be resumed.

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
        super().__init__(path, AUDITS, overwrite=overwrite)
        self.notes: list[str] = []
        self.finished_before = False
        self._begun = False
        self._resume = resume

    def __enter__(self) -> Self:
        """Create and lock the directory; a finished audit that is to be resumed is left alone.

        Raises
        ------
        RunDirectoryError
            As `ResultsDirectory`, and where it holds an unfinished audit that is not to be resumed.
        """
        if self._resume and not self._overwrite and not self._is_unfinished():
            self.finished_before = self.kind.is_finished(self.path)
        return self if self.finished_before else super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the folder `work`, unless the audit stopped with finished steps of use in it."""
        if self.finished_before:
            return
        # What an earlier run left stays until this one has begun.
        useless = error is None or (self._begun and _must_change_input(error))
        keep = not useless and bool(self._steps())
        if error is not None and keep and self._begun:
            error.add_note(
                f"What was finished is kept in {self.path}: the same command with --resume goes "
                "on from there."
            )
        self._leave(keep=keep)

    def _is_protected(self) -> bool:
        # With both, an audit that is to be resumed counts, not the finished one beside it.
        may_go_on = self._resume and self._is_unfinished()
        return not may_go_on and super()._is_protected()

    def _choose_start(self) -> None:
        if self._is_protected():
            self._refuse_finished()
        if self._is_unfinished() and not self._resume and not self._overwrite:
            raise RunDirectoryError(
                f"{self.path}: holds an unfinished audit ({len(self._steps())} finished steps); "
                "pass --resume to go on with it, or --overwrite to start over"
            )
        if not self._resume:
            self._start_over()
        elif (link := first_link(self._work)) is not None:
            raise RunDirectoryError(
                f"{link}: is a link, which no audit makes; pass --overwrite to start over"
            )

    def _refuse_finished(self) -> None:
        unfinished = ", --resume to go on with the unfinished one in it"
        raise RunDirectoryError(
            f"{self.path}: holds a finished audit; choose another directory, or pass --overwrite"
            f"{unfinished if self._is_unfinished() else ''}"
        )

    def _is_unfinished(self) -> bool:
        return (self._work / FINGERPRINT).exists() or bool(self._steps())

    def _steps(self) -> list[Path]:
        return list(self._work.rglob("*.step"))

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
        path = self._work / FINGERPRINT
        before = Fingerprint.read(path) if path.exists() else fingerprint
        if before is None:
            self.notes.append(f"{FINGERPRINT} was damaged; each finished step was checked alone")
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


@contextlib.contextmanager
def opened(
    out: str | Path | None, noun: str, *, overwrite: bool, resume: bool
) -> Iterator[RunDirectory]:
    """Open the directory of an audit or a trace; without `out`, one that is gone afterwards.

    Raises
    ------
    ConfigError, RunDirectoryError
        There is nothing to resume, or as `RunDirectory`.
    """
    if resume and out is None:
        raise ConfigError(f"resume: needs `out`, the directory of the interrupted {noun}")
    with contextlib.ExitStack() as stack:
        if out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory())) / noun
        yield stack.enter_context(RunDirectory(Path(out), overwrite=overwrite, resume=resume))


@contextlib.contextmanager
def amending(directory: Path) -> Iterator[None]:
    """Hold the lock of a finished audit while a command changes files in it.

    Raises
    ------
    RunDirectoryError
        There is no finished audit, another command is at work in it, or it cannot be written.
    """
    held = _Amending(directory, AUDITS)
    with held:
        yield


class _Amending(ResultsDirectory):
    """Finished results that stay, and take more in."""

    def _look(self) -> None:
        if not self.kind.is_finished(self.path):
            raise RunDirectoryError(f"{self.path}: holds no finished {self.kind.noun}")
        if os.path.lexists(self._work) and not is_work(self._work):
            raise RunDirectoryError(
                f"{self._work}: is no {self.kind.noun}'s, and stands where one works; move it away"
            )

    def _choose_start(self) -> None:
        """Leave everything where it is."""

    def _leave(self, *, keep: bool) -> None:
        # An interrupted audit may have left its steps beside the finished one.
        others = any(entry.name != LOCK for entry in self._work.iterdir())
        super()._leave(keep=others)


def make_work(work: Path) -> None:
    """Make the folder that a command works in, where it is missing; it bears the mark at once.

    Raises
    ------
    OSError
        It cannot be made.
    """
    if is_work(work):
        return
    new = temporary_beside(work)
    new.mkdir()
    try:
        (new / LOCK).write_bytes(MARK)
        new.rename(work)
    except OSError:
        remove(new)
        # Another process was faster.
        if not is_work(work):
            raise


def remove_work(work: Path) -> None:
    """Remove the folder that a command worked in; killed on the way, what is left bears the mark.

    What cannot be removed stays: the results are finished without it.
    """
    old = temporary_beside(work)
    with contextlib.suppress(OSError):
        work.rename(old)
        for entry in old.iterdir():
            if entry.name != LOCK:
                remove(entry)
        shutil.rmtree(old)


def _must_change_input(error: BaseException) -> bool:
    """Tell whether the audit stopped at an input that has to change, so that no step fits it.

    A file that could not be read just now is none.
    """
    return isinstance(error, DataError | ConfigError) and not isinstance(error.__cause__, OSError)


def table(content: pd.DataFrame) -> Writer:
    """Return what writes a table as Parquet, in parts, so that no copy of all rows is made."""

    def write(path: Path) -> None:
        # Of all rows, for a part may lack the values that say what a column is.
        schema = pa.Schema.from_pandas(content, preserve_index=False)
        with pyarrow.parquet.ParquetWriter(path, schema) as writer:
            for start in range(0, max(len(content), 1), ROWS_PER_PART):
                part = content.iloc[start : start + ROWS_PER_PART]
                writer.write_table(pa.Table.from_pandas(part, schema, preserve_index=False))

    return write


def text(content: str) -> Writer:
    """Return what writes a UTF-8 text file."""
    return lambda path: path.write_text(content, encoding="utf-8")


def as_json(content: Any) -> Writer:
    """Return what writes a JSON file, indented, keys in the order given."""
    return text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def audit_results(
    tables: Mapping[str, pd.DataFrame], report: str, page: str, manifest: Any
) -> dict[str, Writer]:
    """Return what writes all that an audit leaves.

    Parameters
    ----------
    tables : mapping of file name to pandas.DataFrame
    report : str
        As JSON.
    page : str
        As HTML.
    manifest : what JSON can hold
    """
    return {
        **{name: table(content) for name, content in tables.items()},
        AUDIT: text(report + "\n"),
        REPORT: text(page),
        MANIFEST: as_json(manifest),
    }

"""A finished audit, read back: its report, its tables, and the rows that it looked at."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from dataaudit.datasets.files import readable
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings, columns_aside
from dataaudit.datasets.samples import Role, Samples
from dataaudit.datasets.shard_paths import shard_paths
from dataaudit.errors import DataAuditError, DataError, RunDirectoryError
from dataaudit.labels.answers import instruction_columns
from dataaudit.labels.by_task import KINDS
from dataaudit.labels.kind import Kind
from dataaudit.labels.preferences import pair_columns
from dataaudit.labels.sets import SEPARATOR
from dataaudit.report.data import AuditReport
from dataaudit.report.result import AuditResult
from dataaudit.run_directory.fingerprint import Fingerprint
from dataaudit.run_directory.store import (
    AUDIT,
    CONTAMINATION,
    ISSUES,
    MANIFEST,
    MISLABELS,
    SET_ASIDE,
)

MISLABEL_COLUMNS = [
    "row_id",
    "given_label",
    "suggested_label",
    "score",
    "probability",
    "flagged",
    "rank",
]

_ROLES: dict[Role, tuple[str, str]] = {
    "train": ("training rows", "--data"),
    "suspects": ("suspects", "--suspects"),
}
_DATA: dict[Role, str] = {"train": "training data", "suspects": "evaluation data"}


@contextlib.contextmanager
def as_read_back(directory: Path) -> Iterator[None]:
    """Refuse in one message what no audit wrote, where it is read back and shown.

    Somebody else's files may hold whatever their schema allows: lists of other lengths than those
    that belong to them, say.
    """
    try:
        yield
    except (DataAuditError, OSError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise RunDirectoryError(
            f"{directory}: holds what no audit writes, or this is a defect of dataaudit: "
            f"{type(error).__name__}: {said}"
        ) from error


@dataclass(frozen=True)
class FinishedAudit:
    """What a run directory holds.

    Attributes
    ----------
    directory : Path
    report : AuditReport
    manifest : mapping
        The content of `manifest.json`.
    mislabels : pandas.DataFrame
        One line for every training row, in the order of the training data.
    """

    directory: Path
    report: AuditReport
    manifest: Mapping[str, Any]
    mislabels: pd.DataFrame

    @classmethod
    def open(cls, directory: Path) -> FinishedAudit:
        """Read `audit.json`, `manifest.json` and `mislabels.parquet`.

        Raises
        ------
        RunDirectoryError
            There is no finished audit, or one of the files is damaged.
        """
        report = read_report(directory)
        return cls(directory, report, read_manifest(directory), read_mislabels(directory))

    @property
    def train_sha256(self) -> str:
        """The content hash of the training data that was audited."""
        return str(self.manifest["inputs"]["train"]["sha256"])

    @property
    def suspects_sha256(self) -> str:
        """The content hash of the suspects; empty where there were none."""
        return str(self.manifest["inputs"].get("suspects", {}).get("sha256", ""))

    @property
    def classes(self) -> list[str]:
        """The classes as text, in the order of the model's outputs; none of a regression."""
        if not self.kind.has_classes:
            return []
        counts = self.report.composition.counts
        return [str(item.label) for item in counts if item.split == "train"]

    @property
    def task(self) -> str:
        """The audit's task."""
        return self.report.identity.task

    @property
    def kind(self) -> Kind:
        """The kind of label."""
        return KINDS[self.task]

    @property
    def tolerates_bad_rows(self) -> bool:
        """Whether the audit took rows that it could not use: set aside, or looked at all the same.

        Without a model nothing is asked of labels.
        """
        settings = self.manifest["settings"].get("bad_rows", {})
        set_aside = settings.get("largest_share") or settings.get("longest_text")
        return bool(set_aside) or self._without_model

    @property
    def _without_model(self) -> bool:
        return self.manifest.get("model", "") is None

    def training_rows(self, moved_to: Path | None = None) -> Samples:
        """Open the training data again and make sure that it is what was audited.

        Parameters
        ----------
        moved_to : Path or None
            Where the data is now, if it is no longer where the audit read it.

        Raises
        ------
        DataError
            The data is not there, or is no longer what was audited.
        RunDirectoryError
            The audit read its rows from memory.
        """
        return self._opened("train", moved_to, self.classes or None)

    def suspects(self, moved_to: Path | None = None) -> Samples:
        """Open the suspects again and make sure that they are what was audited.

        Parameters and errors as in `training_rows`.
        """
        if "suspects" not in self.manifest["inputs"]:
            raise RunDirectoryError(f"{self.directory}: the audit was given no suspects")
        return self._opened("suspects", moved_to, self.classes or None)

    def judged_suspects(self) -> list[Any]:
        """Return the ids of the suspects in `contamination.parquet`, each once.

        Raises
        ------
        RunDirectoryError
            The table is missing or damaged.
        """
        return self.pairs()["query_id"].unique().tolist()

    def pairs(self) -> pd.DataFrame:
        """Return `contamination.parquet`.

        Raises
        ------
        RunDirectoryError
            It is missing or damaged, or lacks a column.
        """
        return read_table(self.directory / CONTAMINATION, "query_id", "row_id", "flagged")

    def issues(self) -> pd.DataFrame:
        """Return `issues.parquet`; nothing of a trace, which checks no rows.

        Raises
        ------
        RunDirectoryError
            It is missing or damaged, or lacks a column.
        """
        columns = "check", "row_id", "group"
        if self.report.tracing is not None:
            return pd.DataFrame(columns=columns)
        return read_table(self.directory / ISSUES, *columns)

    def _label_of(self, role: Role, content: Mapping[str, Any]) -> Any:
        """Return the label column that is named; None where the rows have no labels."""
        if self.report.tracing is not None:
            return None
        split = next(split for split in self.report.identity.splits if split.role == role)
        named = content["label"]
        unlabelled = isinstance(named, str) and content.get("labels") is None
        unnamed = unlabelled and split.label_column is None
        if role == "suspects" and not self._counted(role):
            # As public test sets have none, or nothing in all rows.
            return None
        return None if self._without_model and unnamed else named

    def _counted(self, role: Role) -> bool:
        return any(item.split == role for item in self.report.composition.counts)

    def _opened(self, role: Role, moved_to: Path | None, classes: list[str] | None) -> Samples:
        words, option = _ROLES[role]
        settings = self.manifest["settings"]
        content = settings[role]
        if not Path(content["path"]).is_absolute():
            raise RunDirectoryError(
                f"{self.directory}: the audit read its {words} from memory "
                f"({self.manifest['inputs'][role]['source']}); expected an audit of files"
            )
        path = moved_to or Path(content["path"])
        if moved_to is None and not path.exists() and shard_paths(path) is None:
            raise DataError(
                f"{path}: the {_DATA[role]} that was audited is no longer there; "
                f"say with {option} where it is now"
            )
        samples = open_samples(
            path,
            ReadSettings(
                role,
                self._label_of(role, content),
                id_column=content["id"],
                # As the audit read it: suspects go by the training rows' ids where they have such,
                # and what a trace was asked about by ids of its own.
                usual_id=settings["train"].get("id") if self.report.tracing is None else None,
                group_column=content.get("group"),
                classes=classes,
                task=str(settings["task"]),
                tolerate=self.tolerates_bad_rows,
                ignore=settings.get("ignore_label"),
                separator=content.get("separator", SEPARATOR),
                images=None if content.get("images") is None else Path(content["images"]),
                annotators=_annotators(content.get("labels")),
                aside=columns_aside(
                    settings["train"].get("labels"), settings["train"].get("opinions") or {}
                ),
                size=tuple(size) if (size := settings.get("images", {}).get("size")) else None,
                answers=pair_columns(self.kind, content),
                instruction=instruction_columns(self.kind, content),
            ),
        )
        expected = str(self.manifest["inputs"][role]["sha256"])
        if samples.sha256 != expected:
            raise DataError(
                f"{path}: is not the {_DATA[role]} that was audited: its SHA-256 is "
                f"{samples.sha256}, expected {expected}; say with {option} where the "
                "audited data is"
            )
        return samples


def _annotators(stored: Any) -> Sequence[str] | Path | None:
    return Path(stored) if isinstance(stored, str) else stored


def read_again(directory: Path, now: Mapping[str, str]) -> AuditResult:
    """Return a finished audit's result, once it is sure that it was made from the same inputs.

    Parameters
    ----------
    directory : Path
    now : mapping of str to str
        The inputs as they are now; see `Fingerprint.of_inputs`.

    Raises
    ------
    RunDirectoryError
        The audit was made from something else; the message says what changed. Or a file is damaged.
    """
    advice = "choose another directory, or pass --overwrite"
    before = read_manifest(directory).get("made_from")
    if not isinstance(before, dict):
        raise RunDirectoryError(
            f"{directory}: holds a finished audit of an earlier version, which does not say what "
            f"it was made from; {advice}"
        )
    known = Fingerprint({str(name): str(value) for name, value in before.items()})
    if changes := known.changes(Fingerprint(dict(now))):
        raise RunDirectoryError(
            f"{directory}: holds a finished audit of something else: {'; '.join(changes)}; {advice}"
        )
    aside = pd.DataFrame({"row_id": [], "split": [], "reason": []}, dtype=str)
    if (directory / SET_ASIDE).exists():
        aside = read_table(directory / SET_ASIDE)
    return AuditResult(
        read_mislabels(directory),
        read_table(directory / CONTAMINATION),
        aside,
        read_report(directory),
        finished_before=True,
        issues=read_table(directory / ISSUES) if (directory / ISSUES).exists() else pd.DataFrame(),
    )


def read_report(directory: Path) -> AuditReport:
    """Return the report of a finished audit, from its `audit.json`.

    Raises
    ------
    RunDirectoryError
        There is no finished audit, or `audit.json` is damaged.
    """
    path = directory / AUDIT
    try:
        return AuditReport.model_validate_json(_bytes(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunDirectoryError(f"{path}: is no audit report: {where}: {first['msg']}") from None


def read_manifest(directory: Path) -> Mapping[str, Any]:
    """Return the content of `manifest.json`.

    Raises
    ------
    RunDirectoryError
        It is missing, or lacks what an audit writes.
    """
    path = directory / MANIFEST
    try:
        content = json.loads(_bytes(path))
        for key in ("task", "train"):
            content["settings"][key]
        for key in ("source", "rows", "sha256"):
            content["inputs"]["train"][key]
    except (ValueError, TypeError, KeyError) as error:
        raise RunDirectoryError(f"{path}: is no manifest of an audit: {error!r}") from None
    return dict(content)


def read_mislabels(directory: Path, name: str = MISLABELS) -> pd.DataFrame:
    """Return `mislabels.parquet`, or another file of the same columns.

    Raises
    ------
    RunDirectoryError
        It is missing, damaged, or lacks a column.
    """
    path = directory / name
    table = read_table(path)
    missing = [name for name in MISLABEL_COLUMNS if name not in table.columns]
    if missing:
        raise RunDirectoryError(
            f"{path}: no column {missing[0]!r}; the columns are {', '.join(map(str, table))}"
        )
    return table


def read_table(path: Path, *columns: str) -> pd.DataFrame:
    """Return a table of a finished audit, or some columns of it.

    Raises
    ------
    RunDirectoryError
        It is missing or damaged, or lacks a column.
    """
    try:
        with readable(str(path), "a Parquet file"):
            return pd.read_parquet(path, columns=list(columns) or None)
    except DataError as error:
        raise RunDirectoryError(str(error)) from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunDirectoryError(
            f"{path}: cannot be read ({error.strerror}); expected a finished audit's directory"
        ) from None

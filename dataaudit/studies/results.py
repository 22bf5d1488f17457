"""What a study returns: a report and a table, in memory, as files and as a page."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
from pydantic import Field

from dataaudit.config import AuditConfig
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError
from dataaudit.inputs import Loaded
from dataaudit.report.data import Day, Section, Split
from dataaudit.run_directory.manifest import versions
from dataaudit.run_directory.ownership import Kind
from dataaudit.run_directory.store import Writer, table, text
from dataaudit.stages.reporting import split_of


class StudyReport(Section):
    """What the report of every study says."""

    schema_version: Literal["1.0"] = "1.0"
    name: str
    task: str
    date: Day = Field(description="ISO 8601")
    headline: str = Field(description="what was found, in a sentence")
    seed: int
    model: str
    model_sha256: str
    splits: list[Split]
    versions: dict[str, str]
    seconds: float
    notes: list[str]


def common_facts(
    loaded: Loaded, splits: Sequence[Samples], config: AuditConfig, start: float
) -> dict[str, Any]:
    """Return what every `StudyReport` says, but for its headline.

    Parameters
    ----------
    loaded : Loaded
    splits : sequence of Samples
        Those that were looked at.
    config : AuditConfig
    start : float
        When the study began, by `time.perf_counter`.
    """
    return {
        "name": config.name,
        "task": config.task,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config.mirror.seed,
        "model": loaded.model.description,
        "model_sha256": loaded.model.sha256(),
        "splits": [split_of(each) for each in splits],
        "versions": versions(),
        "seconds": round(time.perf_counter() - start, 1),
        "notes": [loaded.model.note] if loaded.model.note else [],
    }


def require_task(config: AuditConfig, *tasks: str) -> None:
    """Raise a `ConfigError` where the task is none of these."""
    if config.task not in tasks:
        raise ConfigError(f"task: found {config.task}, expected {' or '.join(tasks)}")


class StudyResult(ABC):
    """A finished study. Subclasses have a `report`."""

    kind: ClassVar[Kind]
    """Its files: the page, the data and the table, in this order."""
    report: Any

    @abstractmethod
    def _table(self) -> pd.DataFrame:
        """Return the table beside the page."""

    @abstractmethod
    def _page(self) -> str:
        """Return the page."""

    def __repr__(self) -> str:
        """Return the headline: the whole would fill pages of a notebook."""
        return f"{type(self).__name__}: {self.report.headline} ({len(self._table())} lines)"

    def to_html(self, path: str | Path) -> Path:
        """Write the page as one HTML file and return its path."""
        target = Path(path)
        target.write_text(self._page(), encoding="utf-8")
        return target

    def files(self) -> dict[str, Writer]:
        """Return what writes each file of the study's command, in the order of writing."""
        page, data, rows = self.kind.files
        return {
            rows: table(self._table()),
            page: text(self._page()),
            data: text(self.report.model_dump_json(indent=2) + "\n"),
        }

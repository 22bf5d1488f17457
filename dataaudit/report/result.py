"""What an audit returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dataaudit.report.data import AuditReport
from dataaudit.report.render import render


@dataclass(frozen=True)
class AuditResult:
    """A finished audit.

    Attributes
    ----------
    mislabels : pandas.DataFrame
        One line for every training row; the columns are those of `mislabels.parquet`.
    contamination : pandas.DataFrame
        One line for every suspect and match; the columns are those of `contamination.parquet`.
    set_aside : pandas.DataFrame
        `row_id`, `split`, `reason` of every row that could not be used (see `bad_rows`).
    report : AuditReport
        The machine-readable whole, as in `audit.json`.
    finished_before : bool
        Whether `resume` found the audit finished already, from the same inputs, and read it back.
    """

    mislabels: pd.DataFrame
    contamination: pd.DataFrame
    set_aside: pd.DataFrame
    report: AuditReport
    finished_before: bool = False

    @property
    def passed(self) -> bool:
        """Whether no gate was broken or, unless `gates.undecided` is `pass`, left undecided."""
        return all(gate.passed for gate in self.report.verdict.gates)

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one HTML file and return its path."""
        target = Path(path)
        target.write_text(render(self.report), encoding="utf-8")
        return target

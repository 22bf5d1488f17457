"""What an audit returns."""

from __future__ import annotations

import html
import tempfile
import webbrowser
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.memory import Frame
from dataaudit.errors import DataError
from dataaudit.report.data import AuditReport
from dataaudit.report.render import render

SHOWN = 10
"""Flagged rows that a notebook shows."""
USES = (
    "result.flagged(data): the flagged rows; result.show(): the page; result.mislabels, "
    ".contamination, .set_aside, .report"
)
_COLUMNS = ["row_id", "given_label", "suggested_label", "score", "probability", "rank"]


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
    issues : pandas.DataFrame
        What further checks found; the columns are those of `issues.parquet`.
    finished_before : bool
        Whether `resume` found the audit finished already, from the same inputs, and read it back.
    """

    mislabels: pd.DataFrame
    contamination: pd.DataFrame
    set_aside: pd.DataFrame
    report: AuditReport
    finished_before: bool = False
    issues: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def passed(self) -> bool:
        """Whether no gate was broken or, unless `gates.undecided` is `pass`, left undecided."""
        return all(gate.passed for gate in self.report.verdict.gates)

    def __repr__(self) -> str:
        """Return a few lines: the whole would fill pages of a notebook."""
        return "\n".join([f"AuditResult of {self._counts()}", *self._titles(), USES])

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the findings, and the first flagged rows."""
        titles = "".join(f"<li>{html.escape(title)}</li>" for title in self._titles())
        table = self.flagged().head(SHOWN).to_html(index=False, escape=True, border=0)
        return (
            f"<p>AuditResult of {html.escape(self._counts())}</p><ul>{titles}</ul>{table}"
            f"<p>{html.escape(USES)}</p>"
        )

    def flagged(self, data: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the flagged training rows, the most doubtful first, beside the user's own columns.

        Parameters
        ----------
        data : pandas.DataFrame or None
            The training rows as they were audited; None: only what the audit says of them.

        Returns
        -------
        pandas.DataFrame
            `row_id`, `given_label`, `suggested_label`, `score`, `probability`, `rank`, and all
            columns of `data`; those that are called like one of these begin with `data_`. The
            index is that of `data`.

        Raises
        ------
        DataError
            These are not the rows that were audited.
        """
        columns = [name for name in _COLUMNS if name in self.mislabels.columns]
        found = self.mislabels.loc[self.mislabels["flagged"], columns].sort_values("rank")
        if data is None:
            return found.reset_index(drop=True)
        if not isinstance(data, pd.DataFrame):
            raise DataError(
                f"flagged(): expected the data frame of the training rows, found "
                f"{type(data).__name__}; of other data, result.flagged() gives the ids"
            )
        places = self._places(data, found["row_id"].tolist())
        own = data.iloc[places]
        repeated = {name: f"data_{name}" for name in own.columns if name in columns}
        own = own.rename(columns=repeated)
        return pd.concat([found.set_axis(own.index), own], axis=1)

    def show(self) -> Path:
        """Open the report in a browser, and return the path of its file, which stays."""
        path = Path(tempfile.mkdtemp(prefix="dataaudit-")) / "report.html"
        self.to_html(path)
        webbrowser.open(path.as_uri())
        return path

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one HTML file and return its path."""
        target = Path(path)
        target.write_text(render(self.report), encoding="utf-8")
        return target

    def _counts(self) -> str:
        counts = self.report.counts
        parts = []
        if counts.rows_flagged is not None:
            parts.append(f"{counts.rows_flagged:,} of {counts.train:,} training rows flagged")
        if counts.suspects_flagged is not None:
            parts.append(f"{counts.suspects_flagged:,} of {counts.suspects:,} suspects flagged")
        return f"{self.report.identity.name}: {', '.join(parts) or f'{counts.train:,} rows'}"

    def _titles(self) -> list[str]:
        return [finding.title for finding in self.report.findings]

    def _places(self, data: pd.DataFrame, wanted: list[str | int]) -> NDArray[np.int64]:
        """Return the positions in `data` of some row ids."""
        if len(data) != len(self.mislabels):
            raise DataError(
                f"flagged(): found {len(data)} rows, expected the {len(self.mislabels)} training "
                "rows that were audited"
            )
        column = next((s.id_column for s in self.report.identity.splits if s.role == "train"), None)
        if column is not None and column in data.columns:
            names = data[column].tolist()
        else:
            index = Frame("data", data).own_ids()
            names = list(range(len(data))) if index is None else index.tolist()
        if names != self.mislabels["row_id"].tolist():
            raise DataError(
                "flagged(): the rows are not those that were audited, or are in another order; "
                "expected the same data frame"
            )
        place_of = {name: place for place, name in enumerate(names)}
        return np.array([place_of[name] for name in wanted], dtype=np.int64)

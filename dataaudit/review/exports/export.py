"""`dataaudit export`: the rows of a finished audit for review elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataaudit.datasets.rewriting import refuse_existing
from dataaudit.datasets.samples import Samples
from dataaudit.progress import track
from dataaudit.report import formats
from dataaudit.review.exports.choices import OF_ROWS, ExportFormat, What
from dataaudit.review.exports.croissant import write_croissant
from dataaudit.review.exports.csv import write_csv
from dataaudit.review.exports.jsonl import write_jsonl
from dataaudit.review.exports.label_studio import write_label_studio
from dataaudit.review.exports.leaks import write_leaks
from dataaudit.review.exports.rows import ExportRow, chosen_positions, export_rows
from dataaudit.review.exports.sarif import write_sarif
from dataaudit.review.exports.training_summary import write_training_summary
from dataaudit.run_directory.finished import FinishedAudit, as_read_back

ENDINGS = {
    ExportFormat.csv: ".csv",
    ExportFormat.jsonl: ".jsonl",
    ExportFormat.label_studio: ".json",
    ExportFormat.croissant: ".croissant.json",
    ExportFormat.sarif: ".sarif",
    ExportFormat.training_summary: ".summary.md",
}


def export(
    directory: Path,
    to: ExportFormat,
    out: Path | None = None,
    *,
    what: What = What.label,
    only_flagged: bool = True,
    moved_to: Path | None = None,
    suspects_at: Path | None = None,
) -> list[str]:
    """Write rows of a finished audit for review, or what is said of all; say what was written.

    Parameters
    ----------
    directory : Path
        A finished audit.
    to : ExportFormat
    out : Path or None
        The file to write; None names it after the directory, beside it.
    what : What
        Training rows with doubtful labels, or suspects with the rows that they resemble.
    only_flagged : bool
        Whether only flagged ones are written, or all; Croissant describes all.
    moved_to, suspects_at : Path or None
        Where the training data, and the suspects, are now, if they were moved since the audit.

    Raises
    ------
    DataAuditError
        There is no audit, its data has gone or changed, or the file exists already.
    """
    with as_read_back(directory):
        audit = FinishedAudit.open(directory)
        target = out or _beside(audit.directory, to, what, only_flagged)
        refuse_existing(target)
        if to is ExportFormat.label_studio:
            refuse_existing(target.with_suffix(".xml"))
        if what is What.leak:
            both = audit.training_rows(moved_to), audit.suspects(suspects_at)
            count, settings = write_leaks(audit, *both, target, to, only_flagged=only_flagged)
            return _lines(_written(count, target, "leak"), settings)
        return _export(audit, to, target, only_flagged, moved_to)


def _export(
    audit: FinishedAudit, to: ExportFormat, target: Path, only_flagged: bool, moved_to: Path | None
) -> list[str]:
    if to is ExportFormat.sarif:
        count = write_sarif(target, audit.report)
        return [_written(count, target, "result")]
    samples = audit.training_rows(moved_to)
    if to is ExportFormat.croissant:
        write_croissant(target, audit, samples)
        return [f"Croissant metadata: {target.absolute()}"]
    if to is ExportFormat.training_summary:
        write_training_summary(target, audit, samples)
        return [f"draft of a summary of training content: {target.absolute()}"]
    positions = chosen_positions(audit, only_flagged=only_flagged)
    return write_rows(audit, samples, positions, target, to)


def write_rows(
    audit: FinishedAudit,
    samples: Samples,
    positions: NDArray[np.int64],
    target: Path,
    to: ExportFormat,
) -> list[str]:
    """Write the rows at `positions` (ascending) for review, most suspicious first.

    Parameters
    ----------
    audit : FinishedAudit
    samples : Samples
        Its training rows.
    positions : int64 `[rows]`
    target : Path
    to : csv, jsonl or label_studio
    """
    own = samples.special_columns() - {samples.group_column}
    columns = [name for name in map(str, samples.take([0]).frame.columns) if name not in own]
    content = samples.content_column
    others = [name for name in columns if name != content]

    def rows() -> Iterator[ExportRow]:
        return track(export_rows(audit, samples, positions), "export", len(positions))

    if to is ExportFormat.label_studio:
        count, configuration = write_label_studio(
            target,
            rows(),
            model_version=f"dataaudit {audit.report.method.versions.get('dataaudit', '')}".strip(),
            modality=samples.modality,
            classes=audit.classes,
            task=audit.task,
            columns=others,
        )
        return _lines(_written(count, target), configuration)
    if to is ExportFormat.csv:
        is_text = samples.modality == "text"
        count = write_csv(target, rows(), columns if is_text else others, content)
        return [_written(count, target)]
    return [_written(write_jsonl(target, rows()), target)]


def _beside(directory: Path, to: ExportFormat, what: What, only_flagged: bool) -> Path:
    directory = directory.absolute()
    rows = "-flagged" if only_flagged else "-all"
    if what is What.leak:
        rows = "-leaks" if only_flagged else "-suspects"
    return directory.with_name(directory.name + (rows if to in OF_ROWS else "") + ENDINGS[to])


def _written(count: int, target: Path, noun: str = "row") -> str:
    return f"{formats.rows(count, noun)}: {target.absolute()}"


def _lines(written: str, configuration: Path | None) -> list[str]:
    if configuration is None:
        return [written]
    return [written, f"labelling configuration: {configuration.absolute()}"]
